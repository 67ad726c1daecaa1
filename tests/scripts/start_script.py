"""scripts/start.sh as a box runs it: with a home and an environment of its own, and few programs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from tests.support.ports import free_port
from tests.support.waiting import wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts/start.sh"
TOOLS = (
    "sh",
    "cat",
    "cksum",
    "chmod",
    "cp",
    "date",
    "env",
    "grep",
    "id",
    "mkdir",
    "printf",
    "rm",
    "sed",
    "sleep",
    "tr",
)
NOTHING: Mapping[str, str] = MappingProxyType({})
PACKAGE = "kit.whl"  # a source that the box has installed already


@dataclass
class Box:
    """One run of the script; ``logs`` is what the console shows."""

    process: subprocess.Popen[bytes]
    port: int
    home: Path
    console: Path

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=60)

    def state(self) -> str:
        return str(self.get("/readyz").json()["state"])

    def wait_until_failed(self) -> None:
        wait_for(lambda: self.state() == "failed")

    @property
    def logs(self) -> str:
        return self.console.read_text()

    def end(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def path_with(home: Path, *programs: str) -> str:
    """A PATH with the tools of a bare Debian and these programs alone; "python3" is this test's own."""
    folder = home / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (*TOOLS, *programs):
        real = (
            sys.executable if name == "python3" else shutil.which(name, path="/usr/local/bin:/usr/bin:/bin")
        )
        assert real is not None, name
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path(real).resolve() if name != "python3" else real)
    return str(folder)


def installed(home: Path, program: str) -> dict[str, str]:
    """As an earlier start left it, with ``program`` as the kit's command; the variables to say so."""
    programs = home / "programs"
    (programs / "venv/bin").mkdir(parents=True)
    for name, text in (("pip", "#!/bin/sh\n"), ("kinokit", program)):
        (programs / "venv/bin" / name).write_text(text)
        (programs / "venv/bin" / name).chmod(0o755)
    (programs / "core.sum").write_text(PACKAGE)
    return {"KINOKIT_HOME": str(programs), "KINOKIT_SOURCE": PACKAGE}


def with_the_kit(home: Path, *flags: str) -> dict[str, str]:
    """``installed`` with the real kit, of this checkout, whose command is given ``flags`` as well."""
    given = f"import sys\nsys.argv += {list(flags)!r}"
    command = f"#!{sys.executable}\n{given}\nfrom services.cli import main\nmain()\n"
    return installed(home, command) | {"PYTHONPATH": str(ROOT), "KINOKIT_SERVICE": "api"}


@contextmanager
def started(
    home: Path, path: str, env: Mapping[str, str] = NOTHING, *, first: tuple[str, ...] = ()
) -> Iterator[Box]:
    """Run it; ``first`` is a command that runs it in turn."""
    port = free_port()
    console = home / "console"
    (home / "tmp").mkdir(parents=True, exist_ok=True)
    given = {"PATH": path, "HOME": str(home), "TMPDIR": str(home / "tmp"), "KINOKIT_PORT": str(port)}
    given |= {"KINOKIT_HOST": "127.0.0.1", "KINOKIT_HOME": str(home / "programs")}
    with console.open("wb") as out:
        process = subprocess.Popen(
            [*first, "/bin/sh", str(SCRIPT)],
            env={**given, **env},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=home,
        )
    try:
        yield Box(process, port, home, console)
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
