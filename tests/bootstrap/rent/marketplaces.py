"""A small web server that answers as Vast, RunPod and Clore do, with their odd moments on demand."""

from __future__ import annotations

import json
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.bootstrap.rent import clore as clore_answers
from tests.bootstrap.rent import runpod, vast


@dataclass
class World:
    """What exists on the fake marketplace, and which odd moments lie ahead."""

    url: str = ""
    key: str = "the-key"
    box_url: str = ""  # of the rented service
    rented: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    rate_limited: int = 0  # the next N calls answer 429 (Clore: code 5)
    create_fails_but_exists: bool = False
    create_names_nothing: bool = False
    create_refused: bool = False  # and nothing is rented
    ready_after: int = 0  # /readyz answers 502 so often before the boot page, then this many 503
    boot_fails: bool = False
    slow: set[str] = field(default_factory=set)  # the ids of boxes that say of their download that it is slow
    broken: set[str] = field(default_factory=set)  # the ids of boxes whose host is broken
    machines: tuple[int, ...] = (7001,)  # Vast: where each box stands, the last one for all that follow
    down: bool = False  # every call answers 503, the box's own answers go on
    undying: int = 0  # the next N destroys answer 500
    forgets: int = 0  # the next N lists are empty
    old_api: bool = False  # Vast: the paths of before 2026
    charged: float | None = None  # what a box costs an hour (Clore: a day), whatever was listed
    wallets: tuple[str, ...] = ()  # Clore: the currencies that the account holds
    gives_variables_back: bool = True  # Clore: does my_orders name an order's env?
    create_lost: str = ""  # the box is rented, and the answer comes as this fault
    faults: list[str] = field(default_factory=list)  # the next calls are answered so, see Handler.spoil
    answers_all: tuple[Any, ...] = ()  # the JSON that answers every call
    log_uploads: int = 0  # the log store answers 404 so often first
    stored_headers: list[Mapping[str, str]] = field(default_factory=list)  # what the log store was sent
    made: int = 0
    listings: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {
            "vast": vast.OFFERS,
            "runpod": runpod.TYPES,
            "clore": clore_answers.SERVERS,
        }
    )
    woken: threading.Event = field(default_factory=threading.Event)  # ends a slow answer

    @property
    def port(self) -> int:
        return int(self.box_url.rsplit(":", 1)[1])

    def number(self, first: int) -> int:
        """The number of the next box."""
        self.made += 1
        return first + self.made - 1

    def answer_to_create(self, named: Any, nameless: Any) -> tuple[int, Any]:
        if self.create_fails_but_exists:
            return 500, {"error": "internal"}
        return 200, nameless if self.create_names_nothing else named


@contextmanager
def serve() -> Iterator[World]:
    """One server for the three marketplaces and for the box that they rent out."""
    world = World()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def reply(self, status: int, body: Any, **headers: str) -> None:
            raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def handle_any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            path, _, asked = self.path.partition("?")
            if path == "/readyz":
                return self.readyz()
            world.calls.append((self.command, self.path, body))
            if path == "/log-store":
                return self.log_store()
            clore = path.startswith("/v1/") and "auth" in self.headers
            given = self.headers.get("auth") or (self.headers.get("Authorization") or "").removeprefix(
                "Bearer "
            )
            if given != world.key:
                return self.reply(200, {"code": 3}) if clore else self.reply(401, {"error": "bad key"})
            if world.down:
                return self.reply(503, {"error": "maintenance"})
            if world.rate_limited > 0:
                world.rate_limited -= 1
                return self.reply(200, {"code": 5}) if clore else self.reply(429, {"e": 1}, Retry_After="1")
            if world.faults:
                return self.spoil(world.faults.pop(0))
            if world.answers_all:
                return self.reply(200, world.answers_all[0])
            query = dict(urllib.parse.parse_qsl(asked))
            for marketplace in (clore_answers,) if clore else (vast, runpod):
                answer = marketplace.answer(world, self.command, path, query, body)
                if answer is not None:
                    lost = world.create_lost if is_create(self.command, path) else ""
                    return self.spoil(lost) if lost else self.reply(*answer)
            return self.reply(404, {"error": f"{self.command} {path}"})

        def spoil(self, fault: str) -> None:
            """An answer that is none."""
            if fault == "page":
                return self.reply(200, "<!DOCTYPE html><html>Checking your browser</html>")
            if fault == "forbidden page":
                return self.reply(403, "<html>error code: 1010</html>")
            if fault == "502 page":
                return self.reply(502, "<html>502 Bad Gateway</html>")
            if fault == "broken":
                return self.reply(200, '{"code": 0, "servers": [{"id": 5')
            if fault == "busy until a date":
                return self.reply(429, {}, Retry_After="Fri, 01 Jan 2100 00:00:00 GMT")
            if fault == "busy":
                return self.reply(429, {}, Retry_After="soon")
            if fault == "moved":
                return self.reply(308, "", Location=self.path)
            if fault == "moved away":
                return self.reply(308, "", Location=f"http://localhost:{world.port}{self.path}")
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"offers": [')
            elif fault == "slow":
                world.woken.wait(60)
            self.close_connection = True
            return None

        def log_store(self) -> None:
            world.stored_headers.append(dict(self.headers))
            world.log_uploads -= 1
            return self.reply(404, "") if world.log_uploads >= 0 else self.reply(200, "the log\n")

        do_GET = do_POST = do_PUT = do_DELETE = handle_any

        def readyz(self) -> None:
            if not world.rented:
                return self.reply(404, "Proxy Not Found")
            world.ready_after -= 1
            if world.broken & set(world.rented):
                return self.reply(503, {"state": "failed", "phase": "detect", "progress": None})
            if world.boot_fails:
                return self.reply(503, {"state": "failed", "phase": "fetch", "progress": None})
            if world.slow & set(world.rented):
                link = {"remaining_bytes": 40e9, "bytes_per_second": 2e6}
                fetching = {"state": "fetching", "phase": "fetch", "progress": 0.01, "download": link}
                return self.reply(503, fetching)
            if world.ready_after >= 2:
                return self.reply(502, "<html>502 Bad Gateway</html>")
            if world.ready_after >= 0:
                return self.reply(
                    503, {"state": "fetching", "phase": "fetch", "progress": 0.5}, Retry_After="5"
                )
            return self.reply(200, {"state": "ready", "phase": None, "progress": 1.0})

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        world.url = world.box_url = f"http://127.0.0.1:{server.server_port}"
        yield world
        world.woken.set()
        server.shutdown()


def is_create(method: str, path: str) -> bool:
    """Is this the call that rents a box?"""
    return "/asks/" in path or "create_order" in path or (method, path) == ("POST", "/v1/pods")
