"""A checkout of the kit with a remote, as somebody who publishes it or somebody who cloned it has one."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

SCRIPT = "#!/bin/sh\necho started with $#\n"


@dataclass(frozen=True)
class Checkout:
    root: Path

    def git(self, *words: str) -> str:
        named = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        done = subprocess.run(
            ["git", "-C", str(self.root), *named, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    @property
    def commit(self) -> str:
        return self.git("rev-parse", "HEAD")

    def change(self, text: str) -> None:
        (self.root / "README.md").write_text(text)

    def commit_all(self, text: str) -> None:
        self.change(text)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", text)

    def call_remote(self, address: str) -> None:
        """From here on the remote has this address; what was pushed stays known."""
        self.git("remote", "set-url", "origin", address)


def checkout(folder: Path) -> Checkout:
    """One commit with a start script, pushed to a remote beside it."""
    made = Checkout(folder / "kit")
    (made.root / "scripts").mkdir(parents=True)
    (made.root / "scripts/start.sh").write_text(SCRIPT)
    subprocess.run(["git", "init", "-q", "--bare", str(folder / "remote.git")], check=True)
    made.git("init", "-q")
    made.commit_all("first")
    made.git("remote", "add", "origin", str(folder / "remote.git"))
    made.git("push", "-q", "origin", "HEAD:main")
    made.git("fetch", "-q")
    return made
