"""Pages of other sites: they may ask when their origin is a setting, with the token and without a cookie."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running

PAGE = "https://pages.example.org"
ASKS = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-retry-count",
}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    settings = Settings(tmp_path_factory.mktemp("cors"), cors_origins=(PAGE, "http://localhost:5173"))
    with running(settings) as found:
        found.plan(WAN)
        yield found


def preflight(front: Front, path: str = "/v1/videos", **headers: str) -> httpx.Response:
    return front.anybody.options(path, headers={**ASKS, **headers})


def test_a_preflight_is_answered_before_the_token_is_asked_for(front: Front) -> None:
    answer = preflight(front)
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert answer.headers["access-control-allow-headers"] == ASKS["Access-Control-Request-Headers"]
    assert "origin" in answer.headers["vary"].lower()


def test_the_request_itself_is_answered_to_that_page(front: Front) -> None:
    answer = front.people.post("/v1/videos", json={"prompt": "a cat"}, headers={"Origin": PAGE})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    exposed = answer.headers["access-control-expose-headers"].lower()
    for name in ("x-request-id", "retry-after", "content-range", "openai-poll-after-ms"):
        assert name in exposed


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/none", "/status"])
def test_a_refusal_can_be_read_by_the_page(front: Front, path: str) -> None:
    answer = front.anybody.get(path, headers={"Origin": PAGE})
    assert answer.status_code == 401
    assert answer.headers["access-control-allow-origin"] == PAGE


def test_a_cookie_is_never_taken_from_another_site(front: Front) -> None:
    for answer in (preflight(front), front.people.get("/v1/videos", headers={"Origin": PAGE})):
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", f"{PAGE}.evil.example", PAGE.replace("https", "http"), f"{PAGE}:444"],
)
def test_other_sites_are_told_nothing(front: Front, origin: str) -> None:
    assert preflight(front, Origin=origin).status_code == 401
    answer = front.people.get("/v1/videos", headers={"Origin": origin})
    assert not any(name.startswith("access-control") for name in answer.headers)


@pytest.mark.parametrize("path", ["/internal/claim", "/sign-in", "/hub-token", "/studio/"])
def test_what_only_the_kit_itself_uses_stays_closed(front: Front, path: str) -> None:
    assert preflight(front, path).status_code != 204


def test_any_site_may_be_a_setting(tmp_path: Path) -> None:
    with running(Settings(tmp_path, cors_origins=("*",))) as front:
        answer = preflight(front, Origin="https://anybody.example")
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (204, "*")
        assert "access-control-allow-credentials" not in answer.headers
        assert front.anybody.get("/v1/videos", headers={"Origin": "null"}).status_code == 401


def test_without_the_setting_no_other_site_may(tmp_path: Path) -> None:
    with running(Settings(tmp_path)) as front:
        assert preflight(front).status_code == 401
