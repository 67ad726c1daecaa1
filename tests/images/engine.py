"""A Docker engine for the tests: the one that runs here, or Debian's, started for this run."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import psutil

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "kinokit-tests"
STATE = CACHE / "docker"  # of an engine that tests start


class Unavailable(Exception):
    """Why no engine can be had here."""


def client() -> str:
    """A docker client that builds with BuildKit: one with it built in (before 23), or one with buildx."""
    for path in ("/usr/bin/docker", shutil.which("docker")):
        if path is None or not Path(path).exists():
            continue
        version = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
        major = re.search(r"version (\d+)", version)
        if major and int(major[1]) < 23:
            return path
        if subprocess.run([path, "buildx", "version"], capture_output=True).returncode == 0:
            return path
    raise Unavailable("no docker client with BuildKit: apt-get install docker.io (Debian 12)")


@dataclass
class Engine:
    """One engine and the client that talks to it."""

    docker: str
    host: str | None = None  # None: the client's own default
    users: IO[bytes] | None = None  # of an engine of ours: every user holds this lock

    @property
    def answers(self) -> bool:
        return self.run("info", check=False).returncode == 0

    def run(
        self, *arguments: str, check: bool = True, timeout: float = 900
    ) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"DOCKER_BUILDKIT": "1"}
        if self.host:
            environment["DOCKER_HOST"] = self.host
        answer = subprocess.run(
            [self.docker, *arguments], capture_output=True, text=True, env=environment, timeout=timeout
        )
        if check and answer.returncode != 0:
            raise AssertionError(
                f"docker {' '.join(arguments[:3])}: {answer.stdout[-2000:]}{answer.stderr[-4000:]}"
            )
        return answer

    def build(self, image: str, tag: str, **arguments: str) -> None:
        options = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        # The host's network, so that a build reaches the package archives the way this machine does.
        self.run(
            "build",
            "--network=host",
            "--progress=plain",
            *options,
            "-t",
            tag,
            "-f",
            f"images/{image}/Dockerfile",
            str(ROOT),
        )

    def import_folder(self, folder: Path, tag: str) -> None:
        with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
            environment = os.environ | ({"DOCKER_HOST": self.host} if self.host else {})
            subprocess.run(
                [self.docker, "import", "-", tag],
                stdin=tar.stdout,
                env=environment,
                check=True,
                capture_output=True,
            )

    def size_bytes(self, tag: str) -> int:
        return int(json.loads(self.run("image", "inspect", tag).stdout)[0]["Size"])

    def compressed_bytes(self, tag: str) -> int:
        """What a registry would hold: the image's archive, compressed as registries do."""
        environment = os.environ | ({"DOCKER_HOST": self.host} if self.host else {})
        with subprocess.Popen([self.docker, "save", tag], stdout=subprocess.PIPE, env=environment) as save:
            gzip = subprocess.run(
                ["sh", "-c", "gzip -6 | wc -c"], stdin=save.stdout, capture_output=True, check=True
            )
        return int(gzip.stdout)

    def stop(self) -> None:
        """The last user of an engine that tests started ends it."""
        if self.users is None:
            return
        with once("docker"), self.users, suppress(BlockingIOError):
            fcntl.flock(self.users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _end(STATE)


@contextmanager
def once(name: str) -> Iterator[None]:
    """Workers of a test run that make the same thing wait for each other."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def start() -> Engine:
    """The engine that answers already, else a private one below the cache directory (root on Debian)."""
    docker = client()
    if Engine(docker).answers:
        return Engine(docker)
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise Unavailable(
            "no Docker engine runs here, and this user cannot start one (root and dockerd are needed)"
        )
    STATE.mkdir(parents=True, exist_ok=True)
    with once("docker"):
        engine = Engine(docker, f"unix://{STATE}/docker.sock", (STATE / "users").open("wb"))
        if not engine.answers:
            _begin(engine)
        assert engine.users is not None
        fcntl.flock(engine.users, fcntl.LOCK_SH)
    return engine


def _begin(engine: Engine) -> None:
    _end(STATE)  # of a run that was killed: a second one on its folders would break both
    command = ["dockerd", "-H", str(engine.host), "--pidfile", str(STATE / "pid")]
    command += ["--data-root", str(STATE / "data"), "--exec-root", str(STATE / "exec")]
    with (STATE / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
    for _ in range(120):
        if engine.answers:
            return
        if daemon.poll() is not None:
            break
        time.sleep(0.5)
    raise Unavailable(f"dockerd did not start: {(STATE / 'log').read_text()[-600:]}")


def _end(state: Path) -> None:
    """The daemon on these folders, whoever started it."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command[:1] == ["dockerd"] and str(state / "data") in command:
            process.terminate()
            psutil.wait_procs([process], timeout=30)
    (state / "pid").unlink(missing_ok=True)
