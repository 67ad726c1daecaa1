"""Logs that programs read: every line of a real front's log is an object, with whom and what it is about."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from bootstrap import logs
from tests.support.ports import free_port
from tests.support.waiting import wait_for


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def lines_of(folder: Path, form: str) -> tuple[str, str]:
    """The log of a front that answered two requests, and its token."""
    port = free_port()
    (folder / "settings.json").write_text(json.dumps({"log_format": form, "auth": "on"}))
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(folder), "--port", str(port)]
    with (folder / "front.log").open("w") as log:
        front = subprocess.Popen([*command, "--settings", str(folder / "settings.json")], stderr=log)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_for(lambda: answers(url), 60)
            token = (folder / "token").read_text().strip()
            httpx.get(f"{url}/v1/videos/video_7?token={token}", headers={"X-Request-Id": "mine-7"})
            httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {token}"})
        finally:
            front.terminate()
            front.wait(60)
    return (folder / "front.log").read_text(), token


def test_every_line_of_a_front_is_an_object_that_names_its_request(tmp_path: Path) -> None:
    text, token = lines_of(tmp_path, "json")
    found: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in found)
    line = next(line for line in found if line.get("request_id") == "mine-7")
    assert line["route"] == "/v1/videos/{video_id}"
    assert (line["method"], line["status"], line["job_id"]) == ("GET", 404, "video_7")
    assert 0 < line["ms"] < 60_000
    assert any(line.get("route") == "/v1/models" for line in found)
    assert token not in text


def test_lines_for_people_say_the_same_in_words(tmp_path: Path) -> None:
    text, token = lines_of(tmp_path, "text")
    line = next(line for line in text.splitlines() if line.endswith(" mine-7"))
    assert '"GET /v1/videos/video_7?token=... HTTP/1.1" 404 ' in line
    assert " ms mine-7" in line
    assert token not in text


def test_a_line_says_which_job_it_is_about_and_keeps_its_traceback() -> None:
    seen: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(self.format(record))

    log = logging.getLogger("kinokit.test")
    handler = Keep()
    handler.setFormatter(logs.formatter("json", lambda: {"request_id": None}))
    log.addHandler(handler)
    try:
        with logs.about(job_id="video_1"):
            try:
                raise ZeroDivisionError
            except ZeroDivisionError:
                log.exception("it %s", "broke")
        log.warning("after")
    finally:
        log.removeHandler(handler)
    broke, after = map(json.loads, seen)
    assert (broke["message"], broke["level"], broke["job_id"]) == ("it broke", "error", "video_1")
    assert "ZeroDivisionError" in broke["traceback"]
    assert "job_id" not in after
    assert "request_id" not in after


def test_what_ends_a_process_is_a_line_as_well() -> None:
    code = "from bootstrap import logs; logs.begin('json'); raise ZeroDivisionError('boom')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path.cwd())
    (line,) = map(json.loads, done.stderr.splitlines())
    assert (line["level"], done.returncode) == ("critical", 1)
    assert "boom" in line["traceback"]


def test_what_the_agent_prints_is_a_line_as_well(tmp_path: Path) -> None:
    from bootstrap.terminal import Terminal

    path = tmp_path / "agent.log"
    with path.open("w") as file:
        terminal = Terminal(logs.JsonWriter(file, "kinokit.agent"))  # type: ignore[arg-type]
        terminal.say("kinokit answers at http://x")
        assert terminal.is_log
    (line,) = map(json.loads, path.read_text().splitlines())
    assert (line["message"], line["logger"]) == ("kinokit answers at http://x", "kinokit.agent")
