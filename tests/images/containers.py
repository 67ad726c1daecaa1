"""A running kinokit container, watched through its published port."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime

import httpx

from tests.images.engine import Engine


@dataclass
class Container:
    """One container; ``url`` is its published port on this machine."""

    engine: Engine
    name: str
    url: str

    def logs(self) -> str:
        answer = self.engine.run("logs", self.name)
        return answer.stdout + answer.stderr

    def health(self) -> str:
        state = json.loads(self.engine.run("inspect", self.name).stdout)[0]["State"]
        return str(state["Health"]["Status"])

    def exec(self, *command: str) -> str:
        return self.engine.run("exec", self.name, *command).stdout

    def token(self) -> str:
        return self.exec("cat", "/data/token").strip()

    def api(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token()}"}, timeout=60
        )

    def wait(self, path: str, status: int, seconds: float) -> float:
        """Seconds until ``path`` answers ``status``."""
        start = time.monotonic()
        last = "no answer"
        while time.monotonic() - start < seconds:
            try:
                answer = httpx.get(self.url + path, timeout=5)
                last = f"{answer.status_code} {answer.text[:300]}"
                if answer.status_code == status:
                    return time.monotonic() - start
            except httpx.HTTPError as error:
                last = repr(error)
            time.sleep(0.2)
        raise AssertionError(f"{path} not {status} within {seconds} s: {last}\n{self.logs()[-4000:]}")

    def stop(self) -> float:
        """Seconds from the kit's word that it stops to the end of its last process.

        An engine that builds images meanwhile passes the signal on late, and comes back late.
        """
        self.engine.run("stop", "-t", "60", self.name)
        said = self.engine.run("logs", "--timestamps", self.name).stdout.splitlines()
        stopping = next(line.split()[0] for line in reversed(said) if line.endswith(" stopping"))
        ended = json.loads(self.engine.run("inspect", self.name).stdout)[0]["State"]["FinishedAt"]
        return (_time(ended) - _time(stopping)).total_seconds()


def _time(text: str) -> datetime:
    """Of "2026-01-31T12:00:00.123456789Z": Python reads no nanoseconds."""
    return datetime.strptime(text[:26].rstrip("Z"), "%Y-%m-%dT%H:%M:%S.%f")


def published_url(engine: Engine, name: str, port: int = 8000) -> str:
    return "http://" + engine.run("port", name, str(port)).stdout.splitlines()[0].replace(
        "0.0.0.0", "127.0.0.1"
    )


def start(engine: Engine, image: str, name: str, *options: str, command: tuple[str, ...] = ()) -> Container:
    """Run ``image`` in the background with port 8000 published on a free port of loopback."""
    engine.run("rm", "-f", name, check=False)
    engine.run("run", "-d", "--name", name, "-p", "127.0.0.1::8000", *options, image, *command)
    return Container(engine, name, published_url(engine, name))
