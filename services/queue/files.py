"""Where a job's files are: ``jobs/<id>/``, its input and one content per attempt.

What is kept here is on the disk before its row says so: a power cut takes nothing away that was accepted.
"""

from __future__ import annotations

import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from bootstrap import files

INPUT = "input"
REMOVED = ".removed"  # a folder that is being deleted
BLOCK_BYTES = 512  # of st_blocks, whatever the file system has
ORPHAN_SECONDS = 3600.0  # a folder without a row may belong to a request that is just coming in


class Files:
    def __init__(self, data_dir: Path) -> None:
        self.root = data_dir / "jobs"

    def folder(self, job_id: str) -> Path:
        return self.root / job_id

    def keep_input(self, job_id: str, data: bytes, suffix: str) -> str:
        """Store the checked input; its name below the job's folder."""
        kept = self.folder(job_id) / f"{INPUT}{suffix}"
        files.make_folder(kept.parent)
        kept.write_bytes(data)
        return _settled(kept)

    def copy_input(self, from_id: str, name: str, to_id: str) -> str:
        kept = self.folder(to_id) / name
        files.make_folder(kept.parent)
        shutil.copyfile(self.folder(from_id) / name, kept)
        return _settled(kept)

    def content_name(self, token: int) -> str:
        """One name per attempt: a late upload never replaces the winner's."""
        return f"content-{token}.mp4"

    def drop_others(self, job_id: str, winner: str) -> None:
        """Remove what attempts that did not win left behind."""
        for path in self.folder(job_id).glob("content-*"):
            if path.name != winner:
                path.unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Out of the way first: who writes a picture into the folder meanwhile does not keep it."""
        gone = self.root / f"{job_id}.{secrets.token_hex(4)}{REMOVED}"
        try:
            self.folder(job_id).rename(gone)
        except FileNotFoundError:
            return
        except OSError:
            gone = self.folder(job_id)
        shutil.rmtree(gone, ignore_errors=True)

    def bytes(self, job_id: str = "") -> int:
        """How much a job's files take, or those of all jobs."""
        found = 0
        for path in self.folder(job_id).rglob("*") if self.root.is_dir() else ():
            with suppress(FileNotFoundError):
                found += path.stat().st_blocks * BLOCK_BYTES
        return found

    def old_leftovers(self, now: float | None = None) -> set[str]:
        """Folders without a clip that have been there for a while: candidates for being nobody's.

        One with a clip is never among them: the database may be a new one, and the clip is still somebody's.
        """
        if not self.root.is_dir():
            return set()
        before = (time.time() if now is None else now) - ORPHAN_SECONDS
        return {
            path.name
            for path in self.root.iterdir()
            if path.is_dir()
            and path.stat().st_mtime < before
            and (path.suffix == REMOVED or not any(path.glob("content-*.mp4")))
        }


def _settled(kept: Path) -> str:
    files.sync(kept)
    files.sync(kept.parent)
    return kept.name
