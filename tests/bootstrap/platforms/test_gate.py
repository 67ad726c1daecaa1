"""Tokens of this machine do not travel to a rented one unasked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from bootstrap import settings
from bootstrap.choose import reading
from bootstrap.cli import app
from bootstrap.platforms import gate, registry
from bootstrap.platforms.order import Order

PUBLISHED = ["--source", "https://example.org/kit.whl", "--script-url", "https://example.org/start.sh"]
GATED = "svd-xt-1-1"
PLATFORMS = ["clore", "runpod", "vast"]


def startup(platform: str, model: str, *more: str) -> str:
    """Everything that is printed, as a form and as an API call, with tokens in the shell."""
    arguments = ["startup", "--platform", platform, "--model", model, *PUBLISHED, *more]
    shell = {"HF_TOKEN": "hf_s3cret", "HUGGING_FACE_HUB_TOKEN": "hf_s3cret", "CIVITAI_TOKEN": "hf_s3cret"}
    results = [CliRunner().invoke(app, [*arguments, *last], env=shell) for last in ([], ["--json"])]
    assert all(result.exit_code == 0 for result in results), results[0].output
    return "".join(result.output for result in results)


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("model", sorted(reading.shipped()))
def test_the_shells_tokens_stay_in_the_shell(platform: str, model: str) -> None:
    assert "hf_s3cret" not in startup(platform, model)


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_gated_model_says_where_the_token_comes_from(platform: str) -> None:
    said = " ".join(startup(platform, GATED).split())
    assert "is gated: accept its licence at https://" in said
    assert "the boot page asks for the token" in said
    assert ("HF_TOKEN={{ RUNPOD_SECRET_HF_TOKEN }}" in said) == (platform == "runpod")


@pytest.mark.parametrize("platform", PLATFORMS)
def test_a_token_that_is_given_goes_along_with_a_gated_model_alone(platform: str) -> None:
    gated, free = (reading.load(name) for name in (GATED, "demo"))
    for manifest, sent in ((gated, "hf_given"), (free, None)):
        order = Order(manifest=manifest, profile=manifest.profiles[0], hf_token="hf_given")
        assert order.env(platform).get("HF_TOKEN") == sent
        body = json.dumps(registry.form(platform)(order).body)
        assert ("hf_given" in body) == (sent is not None)
    assert "can read the token" in gate.notes(gated, "hf_given", platform)[1]
    assert "stays on this machine" in gate.notes(free, "hf_given", platform)[0]


def test_a_secret_that_the_account_does_not_have_is_no_token() -> None:
    env = {"HF_TOKEN": gate.REFERENCES["runpod"]}
    assert settings.load({}, env).settings.hf_token is None
