"""Addresses are shown without what opens them."""

from __future__ import annotations

import pytest

from bootstrap import settings, web_address
from bootstrap.settings import BadSettings


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://host/x", "https://host/x"),
        ("https://host/x?token=s3cret", "https://host/x?…"),
        ("got 'https://me:s3cret@host/x?a=1&X-Amz-Signature=s3cret'", "got 'https://host/x?…'"),
        ("socks5h://me:s3cret@host:1080", "socks5h://host:1080"),
        ("https://s3cret@host and https://b/?k=s3cret.", "https://host and https://b/?…"),
        ("a question? no", "a question? no"),
        ("mail me@host", "mail me@host"),
        ("https://host/@scope/x", "https://host/@scope/x"),
    ],
)
def test_neither_query_nor_user_is_shown(text: str, shown: str) -> None:
    assert web_address.shown(text) == shown


def test_the_user_becomes_a_header() -> None:
    assert web_address.without_login("https://me:p%40ss@host:8443/x?y=1") == (
        "https://host:8443/x?y=1",
        "Basic bWU6cEBzcw==",
    )
    assert web_address.without_login("https://host/x") == ("https://host/x", None)


def test_settings_show_no_key_of_an_address() -> None:
    env = {"MODEL": "https://host/m.yaml?token=s3cret", "KINOKIT_MIRRORS": "https://me:s3cret@mirror"}
    shown = settings.load({}, env).shown()
    assert shown["model"]["value"] == "https://host/m.yaml?…"
    assert shown["mirrors"]["value"] == ("https://********@mirror",)
    with pytest.raises(BadSettings) as wrong:
        settings.load({}, {"HF_ENDPOINT": "ftp://me:s3cret@hub"})
    assert "s3cret" not in str(wrong.value)
