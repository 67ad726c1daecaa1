"""A session is one sign-in, ends when it should, and is worth nothing to whoever has only its cookie."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from services.front.settings import Settings
from services.keys.key import NewKey
from services.keys.key_file import KeyFile
from tests.services.front.running import Front, running
from tests.services.front.visitors import BROWSER, sign_in

CHANGES = (
    ("POST", "/v1/videos"),
    ("POST", "/v1/videos/sync"),
    ("POST", "/v1/videos/video_1/cancel"),
    ("POST", "/v1/videos/video_1/remix"),
    ("DELETE", "/v1/videos/video_1"),
    ("POST", "/stay"),
    ("POST", "/hub-token"),
    ("POST", "/sign-out"),
    ("POST", "/v1/keys"),
    ("POST", "/studio/gradio_api/upload"),
)
TELLS = ("/status", "/v1/videos", "/v1/videos/video_1", "/v1/videos/video_1/events", "/v1/keys", "/v1/models")


def test_each_sign_in_has_a_session_of_its_own(wan: Front) -> None:
    first, second = sign_in(wan, wan.token), sign_in(wan, wan.token)
    assert first.cookie != second.cookie
    assert first.page_key != second.page_key
    first.page_key = second.page_key
    assert first.ask("GET", "/status").status_code == 401, "halves of two sessions are none"
    assert second.ask("GET", "/status").status_code == 200


@pytest.mark.parametrize(("method", "path"), CHANGES)
def test_the_cookie_alone_changes_nothing(wan: Front, method: str, path: str) -> None:
    visitor = sign_in(wan, wan.token)
    answer = visitor.ask(method, path, key=False, data={"prompt": "a cat"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "sign_in_again")
    assert wan.people.get("/v1/videos").json()["data"] == []


def test_the_cookie_alone_tells_nothing(wan: Front) -> None:
    visitor = sign_in(wan, wan.token)
    for path in TELLS:
        assert visitor.ask("GET", path, key=False).status_code == 401, path
        page = visitor.ask("GET", path, key=False, headers=BROWSER)  # its script asks again, with the key
        assert (page.status_code, "Asking…" in page.text, "prompt" in page.text) == (200, True, False), path
    text = "".join(visitor.ask("GET", path, key=False).text for path in ("/", "/favicon.ico"))
    assert visitor.page_key not in text
    assert wan.token not in text


def test_what_a_browser_fetches_by_itself_needs_the_cookie_alone(wan: Front, clip: bytes) -> None:
    visitor = sign_in(wan, wan.token)
    assert visitor.ask("POST", "/v1/videos", data={"prompt": "a cat"}).status_code == 200
    name = wan.worker.make(clip)
    assert visitor.ask("GET", f"/v1/videos/{name}/content", key=False).content == clip
    assert wan.anybody.get(f"/v1/videos/{name}/content").status_code == 401
    assert visitor.ask("GET", "/", key=False, headers=BROWSER).status_code == 200


def test_signing_out_ends_this_session_on_the_server(wan: Front) -> None:
    one, other = sign_in(wan, wan.token), sign_in(wan, wan.token)
    assert one.ask("POST", "/sign-out").status_code == 204
    assert one.ask("GET", "/status").status_code == 401
    assert one.ask("GET", "/", headers=BROWSER).status_code == 401
    assert other.ask("GET", "/status").status_code == 200


def test_a_guests_session_is_not_the_owners_and_ends_with_the_guests_token(wan: Front) -> None:
    file = wan.data_dir / "token"
    file.write_text(f"{wan.token}\nguest\n")
    owner, guest = sign_in(wan, wan.token), sign_in(wan, "guest")
    assert (owner.ask("GET", "/status").status_code, guest.ask("GET", "/status").status_code) == (200, 200)
    file.write_text(f"{wan.token}\n")
    assert (owner.ask("GET", "/status").status_code, guest.ask("GET", "/status").status_code) == (200, 401)
    assert guest.ask("GET", "/v1/videos/video_1/content", key=False).status_code == 401


def test_a_session_by_a_key_ends_with_the_key_at_once(wan: Front) -> None:
    keys = KeyFile(wan.data_dir)
    made, secret = keys.add(NewKey(name="anna"))
    visitor = sign_in(wan, secret)
    assert visitor.ask("GET", "/v1/videos").status_code == 200
    keys.revoke("anna")
    assert visitor.ask("GET", "/v1/videos").status_code == 401
    assert made.hash not in visitor.cookie


def test_sessions_outlive_the_front_and_their_file_opens_nothing(tmp_path: Path) -> None:
    with running(Settings(tmp_path)) as before:
        visitor = sign_in(before, before.token)
    file = tmp_path / "sessions.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    for secret in (visitor.page_key, visitor.cookie.partition("=")[2], before.token):
        assert secret not in file.read_text()
    with running(Settings(tmp_path)) as after:
        visitor.url = after.url
        assert visitor.ask("GET", "/status").status_code == 200
    file.write_text("broken")
    with running(Settings(tmp_path)) as again:
        visitor.url = again.url
        assert visitor.ask("GET", "/status").status_code == 401
        assert sign_in(again, again.token).ask("GET", "/status").status_code == 200


def test_a_session_ends_after_a_month(tmp_path: Path) -> None:
    with running(Settings(tmp_path)) as front:
        visitor = sign_in(front, front.token)
    file = tmp_path / "sessions.json"
    kept = json.loads(file.read_bytes())
    for session in kept["sessions"].values():
        session["created_at"] -= 31 * 24 * 3600
    file.write_text(json.dumps(kept))
    with running(Settings(tmp_path)) as front:
        visitor.url = front.url
        assert visitor.ask("GET", "/status").status_code == 401


def test_over_https_the_cookie_is_of_this_host_alone(wan: Front) -> None:
    visitor = sign_in(wan, wan.token, **{"X-Forwarded-Proto": "https"})
    assert visitor.cookie.startswith("__Host-kinokit_")
    assert visitor.ask("GET", "/status").status_code == 200


def test_a_token_in_a_header_needs_no_session(wan: Front) -> None:
    assert wan.people.post("/v1/videos", json={"prompt": "a cat"}).status_code == 200
    headers = {"Origin": "http://192.0.2.9:1"}
    assert wan.people.post("/v1/videos", json={"prompt": "a cat"}, headers=headers).status_code == 200
