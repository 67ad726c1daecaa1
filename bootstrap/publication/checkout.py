"""What the checkout that holds this code says of itself. Asks git alone; nothing goes over the network."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bootstrap import __version__
from bootstrap.errors import KitError
from bootstrap.publication import forge
from bootstrap.publication.forge import Repository

ROOT = Path(__file__).parents[2]
SCRIPT = "scripts/start.sh"
SET_THEM = "give --source and --script-url (or set KINOKIT_SOURCE and KINOKIT_SCRIPT_URL)"


@dataclass(frozen=True)
class Checkout:
    """The commit that is checked out, and where others find it."""

    repository: Repository | None  # None: its remote is on this machine alone, or there is none
    commit: str
    tag: str | None
    is_pushed: bool  # a branch of the remote held the commit when git last spoke with it
    changed_files: int
    script_sha256: str  # of the start script as it was committed

    @property
    def ref(self) -> str:
        return self.tag or self.commit


def read(root: Path = ROOT) -> Checkout | None:
    """None where the code lies in no checkout. KitError when git cannot read it."""
    if not (root / ".git").exists():
        return None
    commit = _git(root, "rev-parse", "HEAD").strip()
    remote = _remote(root)
    pushed = remote and _git(root, "for-each-ref", "--count=1", "--contains=HEAD", f"refs/remotes/{remote}")
    return Checkout(
        repository=_repository(root, remote) if remote else None,
        commit=commit,
        tag=_tag(_git(root, "tag", "--points-at", "HEAD", "--sort=v:refname").split()),
        is_pushed=bool(pushed),
        changed_files=len(_git(root, "status", "--porcelain", "--untracked-files=no").splitlines()),
        script_sha256=hashlib.sha256(_output(root, "show", f"HEAD:{SCRIPT}")).hexdigest(),
    )


def _remote(root: Path) -> str | None:
    """``origin``, else the only one."""
    names = _git(root, "remote").split()
    return "origin" if "origin" in names else names[0] if len(names) == 1 else None


def _repository(root: Path, remote: str) -> Repository | None:
    """As it is written first: ``insteadOf`` may lead to a copy that only this machine knows."""
    written = _git(root, "config", "--get", f"remote.{remote}.url")
    return forge.repository(written) or forge.repository(_git(root, "remote", "get-url", remote))


def _tag(names: list[str]) -> str | None:
    usable = [name for name in names if re.fullmatch(r"[A-Za-z0-9._+-]+", name)]
    own = f"v{__version__}"
    return own if own in usable else usable[-1] if usable else None


def _git(root: Path, *words: str) -> str:
    return _output(root, *words).decode(errors="replace")


def _output(root: Path, *words: str) -> bytes:
    """What git prints. Its answer may hold credentials: it is never shown."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *words],
            env=env | {"GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            check=True,
        )
    except FileNotFoundError as error:
        raise KitError(
            f"git is not installed, so nobody can say where {root} is published",
            fix=f"install git, or {SET_THEM}",
        ) from error
    except subprocess.CalledProcessError as error:
        raise KitError(
            f"git cannot read the checkout {root}: `git {words[0]}` ends with {error.returncode}",
            fix=f"run `git -C {root} status` and do what it says, or {SET_THEM}",
        ) from error
    return done.stdout
