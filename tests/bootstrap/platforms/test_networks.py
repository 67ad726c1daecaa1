"""Marketplaces behind the networks of offices: a SOCKS proxy, an authority of one's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bootstrap import certificates
from bootstrap.platforms.api import Api, MarketError
from tests.hub.server import certificate
from tests.support.answering import Asked, serving


class Some(Api):
    name = "Market"


@pytest.fixture
def own_authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, Path]]:
    pair = certificate(tmp_path)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pair[0]))
    certificates._of_process.cache_clear()
    yield pair
    certificates._of_process.cache_clear()


def test_an_authority_of_ones_own_is_trusted(own_authority: tuple[Path, Path]) -> None:
    def answer(asked: Asked) -> None:
        asked.reply(200, b'{"rentals": []}')

    with serving(answer, tls=own_authority) as address:
        assert Some(address, {}).call("GET", "/rentals") == {"rentals": []}


def test_a_socks_proxy_is_named_with_a_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    with pytest.raises(MarketError, match="cannot be asked through a SOCKS proxy") as refused:
        Some("https://market.invalid", {}).call("GET", "/rentals")
    assert "HTTPS_PROXY" in refused.value.fix
