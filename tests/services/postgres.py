"""A real PostgreSQL of our own: Debian's, in a temporary directory, on a socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Postgres:
    """A cluster of its own, run as ``user`` since it refuses to run as root."""

    def __init__(self, binaries: Path, home: Path, user: str | None) -> None:
        self.url = f"postgresql+psycopg://kinokit@/postgres?host={home}"
        self._home = home
        self._binaries = binaries
        self._user = user
        self._run("initdb", "-D", home / "data", "-U", "kinokit", "-A", "trust", "-N")

    def start(self) -> None:
        options = f"-k {self._home} -c listen_addresses='' -c fsync=off"
        self._run("pg_ctl", "-D", self._home / "data", "-w", "-l", self._home / "log", "-o", options, "start")

    def stop(self) -> None:
        """At once, as when the machine is lost."""
        self._run("pg_ctl", "-D", self._home / "data", "-w", "-m", "immediate", "stop")

    def _run(self, program: str, *arguments: str | Path) -> None:
        command = [self._binaries / program, *arguments]
        subprocess.run(command, user=self._user, check=True, cwd="/", stdout=subprocess.DEVNULL)


@contextmanager
def running() -> Iterator[Postgres]:
    """Skips the test with its reason where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found += [Path(each) for each in [shutil.which("initdb")] if each and not found]
    if not found:
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    user = "postgres" if os.geteuid() == 0 else None
    home = Path(tempfile.mkdtemp(prefix="kinokit-pg-"))
    try:
        if user is not None:
            if user not in {account.pw_name for account in pwd.getpwall()}:
                pytest.skip("there is no user postgres to run PostgreSQL as")
            shutil.chown(home, user)
        postgres = Postgres(found[-1].parent, home, user)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)
