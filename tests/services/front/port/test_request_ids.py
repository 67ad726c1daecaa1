"""Every answer names its request, and so do errors and the log: one id leads from a client to the cause."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import openai
import pytest
from fastapi import APIRouter

from services.front.port.server import AccessFilter
from services.front.settings import Settings
from tests.services.front.running import Front, running

MADE = re.compile(r"req_[0-9a-f]{24}")


def test_every_answer_has_an_id_of_its_own(wan: Front) -> None:
    answers = [
        wan.people.post("/v1/videos", json={"prompt": "a cat"}),
        wan.people.get("/v1/videos"),
        wan.people.get("/nowhere"),
        wan.anybody.get("/healthz"),
        wan.anybody.get("/v1/videos"),
        wan.people.post("/v1/videos", content=b"x", headers={"content-type": "text/plain"}),
        wan.people.post("/v1/videos", json={}, headers={"authorization": "", "sec-fetch-site": "cross-site"}),
    ]
    names = [answer.headers["x-request-id"] for answer in answers]
    assert all(MADE.fullmatch(name) for name in names), names
    assert len(set(names)) == len(names)
    errors = [answer for answer in answers if answer.status_code >= 400 and "healthz" not in str(answer.url)]
    assert len(errors) >= 4
    for answer in errors:
        assert answer.json()["error"]["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("own", ["a-1.2_3:4", "0" * 128])
def test_the_clients_own_id_is_kept(wan: Front, own: str) -> None:
    answer = wan.people.get("/v1/videos/video_0", headers={"X-Request-Id": own})
    assert answer.headers.get_list("x-request-id") == [own]
    assert answer.json()["error"]["request_id"] == own


@pytest.mark.parametrize("own", ["", "two words", "x" * 129, "<script>", 'a"b', "a%0ab"])
def test_one_that_is_long_or_odd_is_replaced(wan: Front, own: str) -> None:
    answer = wan.people.get("/v1/videos", headers={"X-Request-Id": own})
    assert MADE.fullmatch(answer.headers["x-request-id"])


def test_openais_client_shows_it(wan: Front) -> None:
    with openai.OpenAI(base_url=f"{wan.url}/v1", api_key=wan.token, max_retries=0) as client:
        assert MADE.fullmatch(client.models.list()._request_id or "")
        with pytest.raises(openai.NotFoundError) as missing:
            client.models.retrieve("sora-2", extra_headers={"X-Request-Id": "mine"})
        assert missing.value.request_id == "mine"


def test_a_bug_is_found_by_the_id_of_its_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    door = APIRouter()

    @door.get("/breaks")
    async def breaks() -> None:
        raise ZeroDivisionError

    with running(Settings(tmp_path), door) as front:
        answer = front.people.get("/breaks")
    assert (answer.status_code, answer.json()["error"]["request_id"]) == (500, answer.headers["x-request-id"])
    assert any(answer.headers["x-request-id"] in record.getMessage() for record in caplog.records)


def test_the_access_log_names_each_request(
    wan: Front, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = logging.getLogger("uvicorn.access")
    monkeypatch.setattr(log, "handlers", [caplog.handler])
    monkeypatch.setattr(log, "filters", [AccessFilter()])
    with caplog.at_level(logging.INFO, "uvicorn.access"):
        wan.people.get("/v1/models?token=secret", headers={"X-Request-Id": "mine-7"})
    lines = [record.getMessage() for record in caplog.records if record.name == "uvicorn.access"]
    assert [line.rsplit(" ", 1)[1] for line in lines] == ["mine-7"]
    assert "secret" not in lines[0]
