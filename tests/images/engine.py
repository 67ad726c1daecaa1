"""A Docker engine for the tests: the one that runs here, or Debian's, started for this run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", str(Path.home() / ".cache"))) / "kinokit-tests"


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
    daemon: subprocess.Popen[bytes] | None = None
    images: dict[str, str] = field(default_factory=dict)

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
        if self.daemon is not None:
            self.daemon.terminate()
            self.daemon.wait(timeout=30)


def start() -> Engine:
    """The engine that answers already, else a private one below the cache directory (root on Debian)."""
    docker = client()
    if subprocess.run([docker, "info"], capture_output=True).returncode == 0:
        return Engine(docker)
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        raise Unavailable(
            "no Docker engine runs here, and this user cannot start one (root and dockerd are needed)"
        )
    state = CACHE / "docker"
    state.mkdir(parents=True, exist_ok=True)
    host = f"unix://{state}/docker.sock"
    _end_leftovers(state)
    with (state / "log").open("wb") as log:
        daemon = subprocess.Popen(
            [
                "dockerd",
                "--data-root",
                str(state / "data"),
                "--exec-root",
                str(state / "exec"),
                "-H",
                host,
                "--pidfile",
                str(state / "pid"),
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    engine = Engine(docker, host, daemon)
    for _ in range(120):
        if engine.run("info", check=False).returncode == 0:
            return engine
        if daemon.poll() is not None:
            break
        time.sleep(0.5)
    raise Unavailable(f"dockerd did not start: {(state / 'log').read_text()[-600:]}")


def _end_leftovers(state: Path) -> None:
    """The daemon of a run that was killed: a second one on its folders would break both."""
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []
        if command[:1] == ["dockerd"] and str(state / "data") in command:
            process.terminate()
            psutil.wait_procs([process], timeout=30)
    (state / "pid").unlink(missing_ok=True)
