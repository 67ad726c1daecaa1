"""Pages at other addresses change nothing here; other names for this address open nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from services.front.door.same_origin import Addresses
from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.services.front.visitors import BROWSER, sign_in

HOST = "192.0.2.2:30301"
OWN_NAMES = (
    *("localhost", "localhost:8000", "127.0.0.1:1", "127.9.9.9", "[::1]:8000", "LocalHost", "x.localhost"),
    *("kino.lan", "kino.lan:8000", "a.lan:81"),
)
OTHER_NAMES = (
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.2", "a.lan:82", ""),
)


def is_from_elsewhere(
    origin: str | None, *, method: str = "POST", scheme: str = "http", **headers: str
) -> bool:
    given = {"host": HOST} | ({} if origin is None else {"origin": origin})
    given |= {name.replace("_", "-"): value for name, value in headers.items()}
    raw = [(name.encode(), value.encode()) for name, value in given.items()]
    scope = {"type": "http", "method": method, "scheme": scheme, "path": "/", "headers": raw}
    addresses = Addresses(["studio.example.org"], public_url=lambda: "https://w3xyz-8000.proxy.example.net")
    return addresses.is_from_elsewhere(scope)


@pytest.mark.parametrize(
    "origin",
    [
        "http://192.0.2.2:30303",  # the neighbour's port
        "http://192.0.2.2",
        "https://192.0.2.2",
        "http://evil.example",
        "http://192.0.2.2:30301.evil.example",
        "null",  # a sandboxed frame, or a page that sends no referrer
        "",
        "file://",
        "http://studio.example.org.evil.example",
    ],
)
def test_a_page_at_another_address_changes_nothing(origin: str) -> None:
    assert is_from_elsewhere(origin)
    assert not is_from_elsewhere(origin, method="GET")


@pytest.mark.parametrize(
    ("origin", "headers"),
    [
        (None, {}),  # a program
        (f"http://{HOST}", {}),
        (f"https://{HOST}", {}),  # TLS ends in a proxy that does not tell
        ("https://box.example", {"host": "box.example:443"}),
        ("https://box.example", {"host": "box.example"}),
        ("http://Box.Example", {"host": "box.example:80"}),
        ("https://box.example", {"x_forwarded_host": "box.example, inner", "x_forwarded_proto": "https"}),
        ("https://w3xyz-8000.proxy.example.net", {"host": "127.0.0.1:8000"}),  # the boot document's address
        ("https://studio.example.org", {}),  # allowed_hosts
        ("http://studio.example.org:8443", {}),
    ],
)
def test_the_own_page_is_known_also_behind_a_proxy(origin: str | None, headers: dict[str, str]) -> None:
    assert not is_from_elsewhere(origin, **headers)


def test_a_page_without_tls_is_not_the_page_with_it() -> None:
    assert is_from_elsewhere("http://box.example", host="box.example", x_forwarded_proto="https")
    assert is_from_elsewhere("http://box.example", host="box.example", scheme="https")


def test_a_form_of_a_neighbours_page_is_refused(wan: Front) -> None:
    visitor = sign_in(wan, wan.token)
    neighbour = {"Origin": "http://127.0.0.1:1", **BROWSER}
    for path in ("/v1/videos", "/v1/videos/video_1/cancel", "/stay", "/sign-out"):
        answer = visitor.ask("POST", path, key=False, data={"prompt": "a cat"}, headers=neighbour)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site"), path
    signing_in = wan.anybody.post("/sign-in", data={"token": wan.token}, headers=neighbour)
    assert (signing_in.status_code, "set-cookie" in signing_in.headers) == (403, False)


def test_the_page_that_has_the_key_is_the_own_page_whatever_a_proxy_made_of_its_address(wan: Front) -> None:
    visitor = sign_in(wan, wan.token)
    rewritten = {"Host": "inner.example:8000", "Origin": "https://outer.example"}
    answer = visitor.ask("POST", "/v1/videos", data={"prompt": "a cat"}, headers=rewritten)
    assert answer.status_code == 200


@pytest.fixture
def local(tmp_path: Path) -> Front:  # type: ignore[misc]
    settings = replace(
        Settings(tmp_path), auth=False, only_local=True, allowed_hosts=("kino.lan", "a.lan:81")
    )
    with running(settings) as front:
        front.plan(WAN)
        yield front


def test_without_a_token_only_this_machines_names_are_answered(local: Front) -> None:
    def asked(host: str, path: str = "/v1/videos", method: str = "GET") -> int:
        return local.anybody.request(method, path, headers={"Host": host}).status_code

    for host in (
        "localhost",
        "localhost:8000",
        "127.0.0.1:1",
        "127.9.9.9",
        "[::1]:8000",
        "LocalHost",
        "x.localhost",
    ):
        assert asked(host) == 200, host
    for host in ("kino.lan", "kino.lan:8000", "a.lan:81"):
        assert asked(host) == 200, host
    for host in (
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "192.0.2.2",
        "a.lan:82",
        "",
    ):
        for path, method in (("/v1/videos", "GET"), ("/v1/videos", "POST"), ("/status", "GET"), ("/", "GET")):
            assert asked(host, path, method) == 403, (host, path)
    assert asked("evil.example", "/healthz") == 200


def test_without_a_token_no_other_page_changes_anything(local: Front) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1"):
        answer = local.anybody.post("/v1/videos", data={"prompt": "a cat"}, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "cross_site")
    answer = local.anybody.post("/v1/videos", data={"prompt": "a cat"}, headers={"Origin": local.url})
    assert answer.status_code == 200
