"""On Clore the box learns where it is reached from the first visit of someone who has signed in."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.requests import Request

from bootstrap import platforms
from services.front.health import public_address


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "headers": raw})


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"host": "abc.us.clorecloud.net"}, "https://abc.us.clorecloud.net"),
        (
            {"host": "127.0.0.1:8000", "x_forwarded_host": "x7.eu.clorecloud.net"},
            "https://x7.eu.clorecloud.net",
        ),
        ({"host": "clorecloud.net.evil.example"}, None),
        ({"host": "10.0.0.7:8000"}, None),
        ({}, None),
    ],
)
def test_an_address_of_clores_is_kept_and_no_other(
    headers: dict[str, str], kept: str | None, tmp_path: Path
) -> None:
    public_address.learn(request(**headers), tmp_path, platforms.address_domains())
    file = tmp_path / "public_url"
    assert (file.read_text() if file.exists() else None) == kept


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("ab12.us.clorecloud.net", "https://ab12.us.clorecloud.net"),
        ("AB12.us.CloreCloud.net:443", "https://ab12.us.clorecloud.net"),
        ("clorecloud.net", None),
        (".clorecloud.net", None),
        ("evil-clorecloud.net", None),
        ("ab12.clorecloud.net.evil.org", None),
        ("evil.org/.clorecloud.net", None),
        ("user@evil.org#.clorecloud.net", None),
        ("127.0.0.1:8000", None),
        ("", None),
    ],
)
def test_clores_address_is_learnt_from_a_request_and_from_nobody_else(host: str, url: str | None) -> None:
    assert public_address.url_from_host(host, platforms.address_domains()) == url
