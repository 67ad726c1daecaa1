"""Who comes in, who does not, and what neither may find in a log."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from starlette.types import Message, Receive, Scope, Send

from services.front.door.auth import Auth
from services.front.door.door import Door
from services.front.door.login_throttle import LoginThrottle
from services.front.settings import Settings
from services.keys.key_file import KeyFile
from tests.services.front.running import WAN, Front, running

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
def browser(bare: Front) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=bare.url, headers=BROWSER, timeout=60) as browser:
        yield browser


def test_only_the_health_routes_are_open(bare: Front) -> None:
    for path in ("/healthz", "/readyz", "/ping"):
        assert bare.anybody.get(path).status_code != 401
    for path in ("/", "/status", "/v1/videos", "/v1/models", "/openapi.json", "/studio/", "/nowhere"):
        assert bare.anybody.get(path).status_code == 401, path
    for path in ("//healthz", "/healthz/", "/healthz/../status", "/ping%2f..%2fstatus"):
        answer = bare.anybody.get(path)
        assert answer.status_code == 401, path


def test_open_answers_hold_no_paths_names_or_tokens(bare: Front) -> None:
    bare.boot(state="fetching", url="http://1.2.3.4:5", phases=[{"name": "fetch", "state": "running"}])
    text = "".join(bare.anybody.get(path).text for path in ("/healthz", "/readyz", "/ping"))
    for secret in (bare.token, str(bare.data_dir), "1.2.3.4"):
        assert secret not in text


def test_a_program_gets_json_never_a_redirect(bare: Front) -> None:
    answer = bare.anybody.get("/v1/videos")
    assert answer.json()["error"]["type"] == "authentication_error"
    assert answer.headers["www-authenticate"] == "Bearer"
    answer = bare.anybody.get("/v1/videos", params={"token": bare.token})
    assert answer.status_code == 200


def test_the_link_becomes_a_cookie_and_a_clean_address(bare: Front, browser: httpx.Client) -> None:
    answer = browser.get("/v1/videos", params={"token": bare.token, "limit": 5})
    assert answer.status_code == 303
    place, mark, page_key = answer.headers["location"].partition("#kinokit=")
    assert (place, bool(mark), len(page_key) >= 32) == ("/v1/videos?limit=5", True, True)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert bare.token not in cookie
    assert browser.get(answer.headers["location"]).status_code == 200


def test_the_cookie_is_for_https_only_where_there_is_https(bare: Front, browser: httpx.Client) -> None:
    answer = browser.get("/", params={"token": bare.token}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]
    assert "Secure" not in browser.get("/", params={"token": bare.token}).headers["set-cookie"]


def test_the_redirect_stays_on_this_host(bare: Front) -> None:
    import socket

    host, port = bare.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(
            f"GET //evil.example/?token={bare.token} HTTP/1.1\r\nHost: x\r\nAccept: text/html\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        answer = b"".join(iter(lambda: line.recv(65536), b"")).decode().lower()
    assert "location: /evil.example/#kinokit=" in answer


def test_a_browser_without_a_token_gets_the_sign_in_page(bare: Front, browser: httpx.Client) -> None:
    answer = browser.get("/")
    assert (answer.status_code, answer.headers["content-type"]) == (401, "text/html; charset=utf-8")
    assert "<form" in answer.text
    answer = browser.post("/sign-in", data={"token": "wrong"})
    assert (answer.status_code, "not the token" in answer.text) == (401, True)
    assert browser.post("/sign-in", data={"token": "x" * 10_000}).status_code == 401
    assert browser.post("/sign-in", files={"token": b"x"}).status_code == 401
    answer = browser.post("/sign-in", data={"token": f" {bare.token} "})
    assert (answer.status_code, answer.headers["location"].partition("#")[0]) == (303, "/")
    assert browser.get("/").status_code == 200


def test_each_line_of_the_file_is_a_token_and_a_new_one_counts_at_once(bare: Front) -> None:
    def asked(token: str) -> int:
        return httpx.get(
            f"{bare.url}/status", headers={"Authorization": f"Bearer {token}"}, timeout=60
        ).status_code

    file = bare.data_dir / "token"
    file.write_text(f"{bare.token}\nopen-button\n")
    assert (asked(bare.token), asked("open-button"), asked("other")) == (200, 200, 401)
    file.unlink()
    assert asked(bare.token) == 401


def test_an_empty_token_file_lets_nobody_in(bare: Front, browser: httpx.Client) -> None:
    (bare.data_dir / "token").write_text("\n\n")
    assert browser.get("/").status_code == 401
    assert bare.anybody.get("/status", headers={"Authorization": "Bearer"}).status_code == 401
    assert bare.anybody.get("/status", params={"token": ""}).status_code == 401


def test_tokens_are_made_for_the_owner_only(bare: Front) -> None:
    for name in ("token", "worker-token"):
        assert stat.S_IMODE((bare.data_dir / name).stat().st_mode) == 0o600
    assert len(bare.token) >= 32


def test_a_token_that_is_there_is_kept(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mine\n")
    with running(Settings(tmp_path)) as front:
        assert front.token == "mine"
        assert front.people.get("/status").status_code == 200


def test_worker_verbs_take_the_workers_token_only(svd: Front) -> None:
    body = {"worker": "w", "models": [], "wait_seconds": 0}
    assert svd.people.post("/internal/claim", json=body).status_code == 401
    assert svd.anybody.post("/internal/claim", json=body).status_code == 401
    assert svd.worker.http.post("/claim", json=body).status_code == 204
    workers_token = svd.worker.http.headers["authorization"]
    assert svd.anybody.get("/status", headers={"Authorization": workers_token}).status_code == 401


def test_without_auth_only_the_workers_need_a_token(tmp_path: Path) -> None:
    with running(replace(Settings(tmp_path), auth=False)) as front:
        assert front.anybody.get("/status").status_code == 200
        assert front.anybody.post("/internal/claim", json={"worker": "w"}).status_code == 401
        assert not (tmp_path / "token").exists()


def test_a_page_of_another_site_changes_nothing_here(tmp_path: Path) -> None:
    with running(replace(Settings(tmp_path), auth=False)) as front:
        front.plan(WAN)
        for site, code in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
            body, headers = {"prompt": "a cat"}, {"Sec-Fetch-Site": site}
            assert front.anybody.post("/v1/videos", data=body, headers=headers).status_code == code
        assert front.anybody.get("/v1/videos", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_a_host_header_never_becomes_an_address_to_go_to(bare: Front) -> None:
    for path in ("/v1/videos/", "/studio", "/status/"):
        answer = bare.people.get(path, headers={"Host": "evil.example"})
        assert "evil.example" not in answer.headers.get("location", "")
    assert bare.people.get("/v1/videos/").json()["error"]["code"] == "unknown_route"


def test_odd_headers_are_a_401_not_a_crash(bare: Front) -> None:
    for headers in (
        {"Authorization": "Bearer"},
        {"Authorization": "Basic eDp5"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": "=;;=a; kinokit_=1; \x01"},
    ):
        assert bare.anybody.get("/status", headers=headers).status_code == 401  # type: ignore[arg-type]


@pytest.mark.alone
def test_whoever_tries_many_tokens_is_slowed_down_and_nobody_else(bare: Front) -> None:
    def guess() -> float:
        began = time.monotonic()
        httpx.get(f"{bare.url}/status", headers={"Authorization": "Bearer guess"}, timeout=60)
        return time.monotonic() - began

    quick = [guess() for _ in range(LoginThrottle.FREE)]
    slow = [guess() for _ in range(2)]
    assert max(quick) < LoginThrottle.STEP_SECONDS < slow[0] < slow[1]
    began = time.monotonic()
    assert bare.people.get("/status").status_code == 200
    assert bare.anybody.get("/status").status_code == 401  # no token is no guess
    assert time.monotonic() - began < LoginThrottle.STEP_SECONDS


def test_far_too_many_guesses_are_not_even_looked_at() -> None:
    now = 0.0
    throttle = LoginThrottle(lambda: now)
    waits = [throttle.count("1.2.3.4") for _ in range(LoginThrottle.REFUSED + 1)]
    assert max(wait for wait in waits if wait is not None) == LoginThrottle.MOST_SECONDS
    assert waits[-1] is None
    assert throttle.count("5.6.7.8") == 0
    now = 5.0
    assert throttle.count("1.2.3.4") is not None, "it falls with the time, not once a minute"
    now = 300.0
    assert throttle.count("1.2.3.4") == 0


@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer wrong")]])
def test_a_web_socket_without_the_token_is_closed(tmp_path: Path, headers: list[tuple[bytes, bytes]]) -> None:
    async def never(_scope: Scope, _receive: Receive, _send: Send) -> None:
        raise AssertionError("it came in")

    async def connect() -> list[Message]:
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/studio/live", "query_string": b"", "headers": headers}
        auth = Auth(never, door=Door(Settings(tmp_path), KeyFile(tmp_path)), sign_in=str)
        await auth(scope, receive, send)
        return sent

    assert [message["type"] for message in asyncio.run(connect())] == ["websocket.close"]
