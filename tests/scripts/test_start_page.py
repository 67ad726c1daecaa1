"""The page of scripts/start.sh: there from the first second, whatever fails, and never refusing anybody."""

from __future__ import annotations

import http.server
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.scripts import start_script
from tests.scripts.start_script import Box
from tests.support.ports import free_port
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart
LANGUAGES = ("perl", "python3")
SECRET = "s3cret-of-the-owner"
WAITS = "#!/bin/sh\necho the kit would run here\nexec sleep 600\n"
both = pytest.mark.parametrize("language", LANGUAGES)


@pytest.fixture
def path(tmp_path: Path, language: str) -> str:
    return start_script.path_with(tmp_path, language)


@both
def test_health_answers_while_nothing_is_installed_yet(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, WAITS)
    with start_script.started(tmp_path, path, kit) as box:
        wait_for(lambda: box.get("/healthz").status_code == 200)
        assert box.get("/healthz").json() == {"status": "ok"}
        ready = box.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {"state": "starting", "phase": "install", "progress": None}
        assert int(ready.headers["Retry-After"]) > 0
        assert box.get("/ping").status_code == 204
        assert box.get("/status").status_code == 503
        assert box.get("/v1/videos").json()["error"]["code"] == "starting"


@both
def test_the_page_shows_the_step_the_log_and_the_cost_and_refreshes_itself(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, WAITS)
    with start_script.started(tmp_path, path, kit | {"KINOKIT_HOURLY_COST": "0.45"}) as box:
        wait_for(lambda: "the kit would run here" in box.get("/").text)
        page = box.get("/")
        assert (page.status_code, page.headers["X-Kinokit-Boot"]) == (200, "1")
        assert 'http-equiv="refresh"' in page.text
        assert "0.45 USD an hour" in page.text
        assert "<p>starting the agent</p>" in page.text
        head = httpx.head(f"http://127.0.0.1:{box.port}/", timeout=60)
        assert (head.text, head.headers["Content-Length"]) == ("", str(len(page.content)))


@both
def test_a_source_that_is_away_is_told_with_its_remedy_and_tried_again_on_request(
    tmp_path: Path, path: str
) -> None:
    kit = start_script.installed(tmp_path, WAITS) | {"KINOKIT_SOURCE": "/nowhere/kit"}
    with start_script.started(tmp_path, path, kit) as box:
        box.wait_until_failed()
        assert box.get("/ping").status_code == 500
        assert box.get("/healthz").status_code == 200
        page = box.get("/").text
        assert "no pyproject.toml in /nowhere/kit" in page
        assert "check KINOKIT_SOURCE" in page
        assert "To end it: " in page
        assert "the page with this error stays" in box.logs
        assert "To end it: " in box.logs
        httpx.post(f"http://127.0.0.1:{box.port}/retry", timeout=60)
        wait_for(lambda: box.logs.count("error: no pyproject.toml") == 2)
        box.wait_until_failed()
        assert box.end() == 1


def test_where_python_cannot_be_had_the_page_says_so(tmp_path: Path) -> None:
    path = start_script.path_with(tmp_path, "perl")
    with start_script.started(tmp_path, path) as box:
        box.wait_until_failed()
        assert "python3 python3-venv is missing and this image has no apt-get" in box.get("/").text


def test_without_perl_and_python_the_work_is_done_and_the_log_says_so(
    tmp_path: Path,
) -> None:
    kit = start_script.installed(tmp_path, "#!/bin/sh\necho the kit runs\nexit 7\n")
    with start_script.started(tmp_path, start_script.path_with(tmp_path), kit) as box:
        assert box.process.wait(60) == 7
        assert "neither perl nor Python is here" in box.logs
        assert "the kit runs" in box.logs


@both
def test_no_secret_reaches_the_page_or_the_log(tmp_path: Path, path: str) -> None:
    talks = (
        f"#!/bin/sh\necho open http://x/?token=abc123 https://me:pw@host/ {SECRET} hf_abcdefgh1234\nexit 3\n"
    )
    kit = start_script.installed(tmp_path, talks)
    with start_script.started(tmp_path, path, kit | {"KINOKIT_TOKEN": SECRET}) as box:
        box.wait_until_failed()
        log = (tmp_path / ".local/share/kinokit/logs/start.log").read_text()
        for text in (box.get("/").text, box.logs, log):
            assert "open http://x/?token=***" in text
            for secret in ("abc123", "me:pw", SECRET, "hf_abcdefgh"):
                assert secret not in text


@both
def test_a_failure_ends_at_once_where_no_page_is_wanted(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, "#!/bin/sh\nexit 5\n")
    with start_script.started(tmp_path, path, kit | {"KINOKIT_FAILED_MINUTES": "0"}) as box:
        assert box.process.wait(60) == 5


@both
def test_a_port_that_is_taken_does_not_stop_the_work(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, "#!/bin/sh\necho works\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with start_script.started(tmp_path, path, kit | {"KINOKIT_PORT": port}) as box:
            assert box.process.wait(60) == 0
            assert f"no page at port {port}: Address already in use" in box.logs
            assert "works" in box.logs


@both
def test_it_follows_a_page_that_is_about_to_end(tmp_path: Path, path: str) -> None:
    """The pasted line shows one while it fetches this script, and kills it."""
    kit = start_script.installed(tmp_path, WAITS)
    with socket.create_server(("127.0.0.1", 0)) as before:
        port = before.getsockname()[1]
        with start_script.started(tmp_path, path, kit | {"KINOKIT_PORT": str(port)}) as box:
            time.sleep(0.5)
            before.close()
            wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code == 200)
            assert "no page" not in box.logs


@both
def test_the_port_is_found_where_kubernetes_has_a_service_called_kinokit(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, WAITS)
    port = str(free_port())
    env = kit | {"KINOKIT_PORT": "tcp://10.96.12.7:8000", "PORT": port}
    with start_script.started(tmp_path, path, env):
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=60).status_code == 200)


@both
def test_a_slow_or_silent_visitor_holds_nobody_up(tmp_path: Path, path: str) -> None:
    kit = start_script.installed(tmp_path, WAITS)
    with start_script.started(tmp_path, path, kit) as box:
        wait_for(lambda: box.get("/healthz").status_code == 200)
        silent = [socket.create_connection(("127.0.0.1", box.port)) for _ in range(20)]
        assert box.get("/healthz").status_code == 200
        for each in silent:
            each.close()


@both
def test_the_log_is_bounded_while_it_grows(tmp_path: Path, path: str) -> None:
    floods = "#!/bin/sh\nyes 0123456789012345678901234567890123456789 | head -n 500000\nexec sleep 600\n"
    kit = start_script.installed(tmp_path, floods)
    path = start_script.path_with(tmp_path, language_of(path), "yes", "head")
    logs = tmp_path / ".local/share/kinokit/logs"
    with start_script.started(tmp_path, path, kit):
        wait_for(lambda: sum(each.stat().st_size for each in logs.iterdir()) > 12_000_000)
        wait_for(lambda: (logs / "start.log.1").exists())
        assert max(each.stat().st_size for each in logs.iterdir()) < 9_000_000
        assert (logs / "start.log.1").stat().st_mode & 0o077 == 0


def language_of(path: str) -> str:
    return next(name for name in LANGUAGES if (Path(path) / name).exists())


@pytest.fixture
def marketplace() -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
    """An API that a box asks to stop it; what it was asked."""
    asked: list[tuple[str, str, str]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append((self.path, self.headers["Authorization"], body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/stop", asked
        server.shutdown()


@both
def test_after_the_limit_a_failed_box_is_stopped_with_its_own_key(
    tmp_path: Path, language: str, marketplace: tuple[str, list[tuple[str, str, str]]]
) -> None:
    url, asked = marketplace
    kit = start_script.installed(tmp_path, "#!/bin/sh\nexit 5\n")
    env = {"PLATFORM": "vast", "CONTAINER_ID": "7", "CONTAINER_API_KEY": SECRET, "KINOKIT_STOP_URL": url}
    env |= {"KINOKIT_FAILED_MINUTES": "0.001", "KINOKIT_DATA_DIR": str(tmp_path / "data")}
    with start_script.started(tmp_path, start_script.path_with(tmp_path, language, "curl"), kit | env) as box:
        wait_for(lambda: asked)
        assert asked[0][:2] == ("/stop", f"Bearer {SECRET}")
        assert json.loads(asked[0][2]) == {"state": "stopped"}
        assert box.state() == "failed"
        assert SECRET not in box.logs


class Visitors:
    """Ask for /healthz again and again, each time by a new connection; ``refused`` counts what went wrong."""

    def __init__(self, port: int) -> None:
        self.port, self.asked, self.wrong = port, 0, []  # type: ignore[var-annotated]
        self._ends = threading.Event()
        self._threads = [threading.Thread(target=self._visit) for _ in range(4)]

    def _visit(self) -> None:
        while not self._ends.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), 60) as line:
                    line.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                    answer = line.makefile("rb").read()
                if b" 200 " not in answer.split(b"\r\n")[0] + b" ":
                    self.wrong.append(answer[:200])
            except OSError as error:
                self.wrong.append(repr(error))
            self.asked += 1
            time.sleep(0.002)

    def __enter__(self) -> Visitors:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for each in self._threads:
            each.join()


def agent_answers(box: Box) -> bool:
    return "error" not in box.get("/openapi.json").json()


@both
def test_the_agent_takes_the_port_over_and_nobody_is_refused(tmp_path: Path, language: str) -> None:
    """The real kit; then its end: the signal reaches it and its exit code is the script's."""
    kit = start_script.with_the_kit(tmp_path)
    with start_script.started(tmp_path, start_script.path_with(tmp_path, language), kit) as box:
        wait_for(lambda: box.get("/healthz").status_code == 200)
        with Visitors(box.port) as visitors:
            wait_for(lambda: agent_answers(box), 120)
            time.sleep(0.5)
        assert visitors.wrong == []
        assert visitors.asked > 20
        assert box.end(signal.SIGTERM) == 0
        assert "stopping" in box.logs


@both
def test_an_agent_that_refuses_gives_the_page_back(tmp_path: Path, language: str) -> None:
    kit = start_script.with_the_kit(tmp_path)
    with start_script.started(
        tmp_path, start_script.path_with(tmp_path, language), kit | {"KINOKIT_AUTH": "maybe"}
    ) as box:
        box.wait_until_failed()
        assert "the configuration has 1 mistake" in box.get("/").text


def test_an_agent_at_another_address_of_the_port_gets_it_too(tmp_path: Path) -> None:
    """The page listens where the environment says, the agent where a flag does."""
    kit = start_script.with_the_kit(tmp_path, "--host", "0.0.0.0")
    with start_script.started(tmp_path, start_script.path_with(tmp_path, "perl"), kit) as box:
        elsewhere = f"http://127.0.0.2:{box.port}/healthz"
        wait_for(lambda: httpx.get(elsewhere, timeout=60).status_code == 200, 120)
        assert httpx.get(f"http://127.0.0.1:{box.port}/status", timeout=60).status_code == 401
        assert box.end() == 0
