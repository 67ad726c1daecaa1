"""RunPod's bridge talks to this machine, whatever proxy the box has."""

from __future__ import annotations

import asyncio
import json

import pytest

from services.serverless import Bridge
from tests.support.answering import Asked, serving


def test_the_proxy_of_the_box_is_not_asked_for_its_own_api(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    def answer(asked: Asked) -> None:
        refusal = {"error": {"message": "no such size", "fix": "take another"}}
        asked.reply(200 if asked.path == "/readyz" else 400, json.dumps(refusal).encode())

    with serving(answer) as url:
        run = Bridge(url, "token").run({"prompt": "a boat"}, lambda _: None)
        said = asyncio.run(asyncio.wait_for(run, 60))
    assert said == {"error": "no such size (take another)"}
