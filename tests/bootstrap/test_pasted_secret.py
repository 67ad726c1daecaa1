"""Secrets as they come out of a browser, a shell and a form."""

from __future__ import annotations

import pytest

from bootstrap import pasted_secret, settings
from bootstrap.settings import BadSettings


@pytest.mark.parametrize(
    "pasted",
    [
        " hf_good ",
        "hf_good\n",
        "\r\nhf_good\r\n",
        "\thf_good",
        '"hf_good"',
        "'hf_good'",
        "' hf_good '",
        "“hf_good”",
        "`hf_good`",
        "\u200bhf_good\ufeff",
        "\u00a0hf_good",
        "Bearer hf_good",
        "HF_TOKEN=hf_good",
        'export HF_TOKEN="hf_good"',
        "Authorization: Bearer hf_good",
    ],
)
def test_what_stands_around_a_token_is_taken_off(pasted: str) -> None:
    assert pasted_secret.cleaned(pasted) == "hf_good"
    found = settings.load({}, {"HF_TOKEN": pasted}).settings
    assert found.hf_token is not None and found.hf_token.get_secret_value() == "hf_good"


@pytest.mark.parametrize("empty", [" ", "\n", '""', "''"])
def test_nothing_is_no_token(empty: str) -> None:
    assert settings.load({}, {"HF_TOKEN": empty}).settings.hf_token is None


@pytest.mark.parametrize(
    "pasted", ["hf_s3c ret", "hf_s3c\nret", "hf_s3c\r\nX-Evil: 1", "hf_s3cret\x00", "hf_s3crét", '"hf_s3cret']
)
@pytest.mark.parametrize("variable", ["HF_TOKEN", "KINOKIT_TOKEN"])
def test_what_no_header_can_carry_is_refused_where_it_was_set_and_not_shown(
    pasted: str, variable: str
) -> None:
    with pytest.raises(BadSettings) as refused:
        settings.load({}, {variable: pasted})
    assert f"environment {variable}" in str(refused.value)
    assert "s3c" not in str(refused.value)
