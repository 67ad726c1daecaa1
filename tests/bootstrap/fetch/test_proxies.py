"""Boxes whose only way out is a proxy, with the variables that every other tool reads."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest

from bootstrap import certificates
from bootstrap.errors import KitError
from bootstrap.fetch.http import proxies
from bootstrap.fetch.http.origin import Origin
from tests import hub
from tests.bootstrap.fetch.conftest import BIG, MIB, Model, manifest_of, no_cache, noise
from tests.hub import Hub
from tests.hub import server as hub_server
from tests.support import proxying
from tests.support.answering import Asked, serving
from tests.support.proxying import Proxied

SMALL = {BIG: noise(2 * MIB), "model_index.json": b"{}\n"}
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
NAMES = {"hub.test": hub_server.HUB_HOST, "storage.test": hub_server.STORAGE_HOST}


@pytest.fixture(autouse=True)
def _no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def far(model: Model) -> Model:
    """A hub and storage whose names only a proxy knows."""
    return _far(model.server, model.store)


def _far(server: Hub, store: Path) -> Model:
    server.storage_address = server.storage.replace(hub_server.STORAGE_HOST, "storage.test")
    repo = server.add("studio/small", SMALL)
    return Model(server, repo, store, manifest_of(repo))


def is_right(found: Mapping[str, Path]) -> bool:
    return {path: place.read_bytes() for path, place in found.items()} == SMALL


def endpoint(model: Model) -> str:
    return model.server.endpoint.replace(hub_server.HUB_HOST, "hub.test")


@pytest.fixture
def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Model]:
    """The same by https, with a certificate that the box trusts; also good for a proxy on loopback."""
    made = hub_server.certificate(tmp_path, *NAMES)
    monkeypatch.setenv("SSL_CERT_FILE", str(made[0]))
    certificates._of_process.cache_clear()
    no_cache(monkeypatch, tmp_path)
    with hub.serve(tls=made) as server:
        yield _far(server, tmp_path / "models")
    certificates._of_process.cache_clear()


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def test_http_passes_through_the_proxy_by_whole_addresses(
    far: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = opened.enter_context(proxying.http(Proxied(NAMES, login="me:p@ss word")))
    monkeypatch.setenv("HTTP_PROXY", f"http://me:p%40ss%20word@{proxy.place}")
    assert is_right(far.fetch(endpoint=endpoint(far)))
    assert {method for method, _ in proxy.seen} == {"HEAD", "GET"}
    assert {place.split(":")[0] for _, place in proxy.seen} == set(NAMES)


def test_https_passes_by_connect_and_the_proxy_sees_no_token(
    over_tls: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = opened.enter_context(proxying.http(Proxied(NAMES, login="me:secret")))
    monkeypatch.setenv("https_proxy", f"me:secret@{proxy.place}")
    over_tls.server.allow("hf_mine")
    assert is_right(over_tls.fetch(endpoint=endpoint(over_tls), token="hf_mine"))
    assert {method for method, _ in proxy.seen} == {"CONNECT"}
    headers = [seen.headers for seen in over_tls.server.seen]
    assert not any("proxy-authorization" in each for each in headers)


def test_a_proxy_that_is_reached_by_tls_itself_works(
    over_tls: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pair = (tmp_path / "hub.pem", tmp_path / "hub.key")
    proxy = opened.enter_context(proxying.http(Proxied(NAMES), tls=pair))
    monkeypatch.setenv("HTTPS_PROXY", proxy.address)
    assert is_right(over_tls.fetch(endpoint=endpoint(over_tls)))
    assert {method for method, _ in proxy.seen} == {"CONNECT"}


@pytest.mark.parametrize("login", [None, "me:secret"])
def test_socks_passes_names_on(
    over_tls: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, login: str | None
) -> None:
    proxy = opened.enter_context(proxying.socks(Proxied(NAMES, login=login)))
    user = f"{login}@" if login else ""
    monkeypatch.setenv("ALL_PROXY", f"socks5h://{user}{proxy.place}")
    assert is_right(over_tls.fetch(endpoint=endpoint(over_tls)))
    assert {place.split(":")[0] for _, place in proxy.seen} == set(NAMES)


def test_socks5_resolves_names_on_the_box(
    far: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    far.server.storage_address = None
    proxy = opened.enter_context(proxying.socks(Proxied()))
    monkeypatch.setenv("all_proxy", proxy.address.replace("socks5h", "socks5"))
    local = far.server.endpoint.replace(hub_server.HUB_HOST, "localhost")
    assert is_right(far.fetch(endpoint=local))
    assert {place.split(":")[0] for _, place in proxy.seen} == set(NAMES.values())


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://me:hidden@127.0.0.1:1", r"the proxy 127\.0\.0\.1:1 \(HTTP_PROXY\) refuses connections"),
        ("socks5://me:hidden@127.0.0.1:1", r"the proxy 127\.0\.0\.1:1 \(HTTP_PROXY\) refuses connections"),
        ("http://me:hidden@nowhere.invalid:3128", r"the name of the proxy nowhere\.invalid:3128"),
        ("socks4://me:hidden@127.0.0.1:1", "HTTP_PROXY names no proxy that can be used"),
        ("http://me:hidden@127.0.0.1:port", "HTTP_PROXY names no proxy that can be used"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_without_its_password(
    model: Model, monkeypatch: pytest.MonkeyPatch, address: str, said: str
) -> None:
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(KitError, match=said) as failed:
        model.fetch()
    assert "hidden" not in str(failed.value)
    assert not model.server.seen, "nothing goes around the proxy"


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h"])
@pytest.mark.parametrize(("user", "said"), [("", "asks for a user"), ("me:hidden@", "refuses its user")])
def test_a_proxy_that_refuses_the_user_is_named(
    model: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, scheme: str, user: str, said: str
) -> None:
    make = proxying.socks if scheme == "socks5h" else proxying.http
    proxy = opened.enter_context(make(Proxied(login="me:right")))
    kind = "socks5h" if scheme == "socks5h" else "http"
    monkeypatch.setenv("ALL_PROXY", f"{kind}://{user}{proxy.place}")
    there = model.server.endpoint.replace("http:", "https:") if scheme == "https" else model.server.endpoint
    with pytest.raises(KitError, match=rf"the proxy {proxy.place} \(ALL_PROXY\) {said}") as failed:
        model.fetch(endpoint=there)
    assert "hidden" not in str(failed.value) and "ALL_PROXY" in failed.value.fix


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_does_not_reach_the_hub_is_named(
    model: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    proxy = opened.enter_context(proxying.http(Proxied()))
    monkeypatch.setenv("ALL_PROXY", proxy.address)
    said = rf"no progress .* the proxy {proxy.place} \(ALL_PROXY\) does not reach hub\.invalid \(status 502\)"
    with pytest.raises(KitError, match=said):
        model.fetch(endpoint=f"{scheme}://hub.invalid")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_whose_rules_forbid_the_hub_is_named_at_once(
    model: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch, scheme: str
) -> None:
    def forbid(asked: Asked) -> None:
        asked.reply(403, X_Squid_Error="ERR_ACCESS_DENIED 0")

    address = opened.enter_context(serving(forbid))
    monkeypatch.setenv("ALL_PROXY", address)
    with pytest.raises(KitError, match=r"\(ALL_PROXY\) does not let this box reach hub\.test \(status 403\)"):
        model.fetch(endpoint=f"{scheme}://hub.test")


def test_something_that_is_no_proxy_is_named(
    model: Model, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    listening = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
    place = f"127.0.0.1:{listening.getsockname()[1]}"
    opened.enter_context(_closing(listening))
    monkeypatch.setenv("ALL_PROXY", f"socks5://{place}")
    with pytest.raises(KitError, match=rf"the proxy {place} \(ALL_PROXY\)"):
        model.fetch()


def _closing(listening: socket.socket) -> ExitStack:
    """Takes each connection and ends it at once."""

    def run() -> None:
        while True:
            try:
                listening.accept()[0].close()
            except OSError:
                return

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    stack = ExitStack()
    stack.callback(listening.shutdown, socket.SHUT_RDWR)
    return stack


def chosen(url: str, env: Mapping[str, str]) -> str | None:
    found = proxies.of(Origin.of(url), env)
    return None if found is None else f"{found.scheme}://{found.host}:{found.port}"


@pytest.mark.parametrize(
    ("url", "env", "found"),
    [
        ("https://a.test", {}, None),
        ("https://a.test", {"HTTP_PROXY": "http://p:1"}, None),
        ("http://a.test", {"HTTP_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.test", {"HTTPS_PROXY": "p:1"}, "http://p:1"),
        ("https://a.test", {"https_proxy": "http://q", "HTTPS_PROXY": "http://p:1"}, "http://q:3128"),
        ("https://a.test", {"https_proxy": "", "HTTPS_PROXY": "http://p:1"}, "http://p:1"),
        ("https://a.test", {"ALL_PROXY": "socks5://p"}, "socks5://p:1080"),
        ("https://a.test", {"ALL_PROXY": "socks://p"}, "socks5://p:1080"),
        ("https://a.test", {"all_proxy": "socks5h://[::1]:9"}, "socks5h://::1:9"),
        ("https://a.test", {"ALL_PROXY": "http://p:1", "HTTPS_PROXY": "http://q:2"}, "http://q:2"),
        ("https://a.test", {"HTTPS_PROXY": "https://p"}, "https://p:443"),
    ],
)
def test_the_variable_is_chosen_as_other_tools_do(url: str, env: dict[str, str], found: str | None) -> None:
    assert chosen(url, env) == found


@pytest.mark.parametrize(
    ("exceptions", "url", "is_direct"),
    [
        ("*", "https://a.test", True),
        ("a.test", "https://a.test", True),
        ("A.Test", "https://a.test", True),
        ("a.test", "https://x.a.test", True),
        (".a.test", "https://x.a.test", True),
        (".a.test", "https://a.test", True),
        ("*.a.test", "https://x.a.test", True),
        ("a.test", "https://ba.test", False),
        ("a.test:443", "https://a.test", True),
        ("a.test:8443", "https://a.test", False),
        ("b.test, a.test", "https://a.test", True),
        ("b.test a.test", "https://a.test", True),
        ("b.test,,", "https://a.test", False),
        ("", "https://a.test", False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.1/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.0.0.0/8", "https://10.test", False),
        ("127.0.0.1", "http://127.0.0.1:8000", True),
        ("127.0.0.1:8000", "http://127.0.0.1:8000", True),
        ("::1", "http://[::1]:8000", True),
        ("[::1]:8000", "http://[::1]:8000", True),
        ("fd00::/8", "http://[fd12::1]", True),
        ("0.0.1", "http://127.0.0.1", False),
        ("10.0.0.0/bad", "https://10.1.2.3", False),
    ],
)
def test_no_proxy_is_read_as_other_tools_do(exceptions: str, url: str, is_direct: bool) -> None:
    env = {"ALL_PROXY": "http://p:1"}
    assert (chosen(url, env | {"NO_PROXY": exceptions}) is None) == is_direct
    assert (chosen(url, env | {"no_proxy": exceptions}) is None) == is_direct
