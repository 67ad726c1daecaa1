"""Finished clips are copied to another place as they finish: a rented box may be gone tomorrow.

The place is any address that fsspec knows, such as ``s3://bucket/folder``; its keys come from the
environment, by the names that its own tools use (``AWS_ACCESS_KEY_ID``, ``AWS_ENDPOINT_URL`` …).
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi.concurrency import run_in_threadpool

from services.queue import notifier
from services.queue.files import Files
from services.queue.job import DatabaseDown, Job
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``

log = logging.getLogger("kinokit.front")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 2.0, 60.0  # between tries of a place that fails
PART = ".part"
FILE_SYSTEMS = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb"})


class Outbox:
    """``address`` is where clips go. One copy after the other, oldest first."""

    def __init__(self, address: str, files: Files, notifier: Notifier, ask: Ask) -> None:
        self.address = address.rstrip("/")
        self._files = files
        self._notifier = notifier
        self._ask = ask
        self.failure: str | None = None  # why the last try failed
        self._waiting = 0

    def public(self) -> dict[str, Any]:
        return {"to": self.address, "waiting": self._waiting, "failure": self.failure}

    @property
    def is_busy(self) -> bool:
        """A copy is under way, or will be at once."""
        return self._waiting > 0 and self.failure is None

    async def empty(self) -> None:
        """For ever. A clip that cannot be copied is tried again; nothing is given up."""
        pause = FIRST_PAUSE_SECONDS
        while True:
            change = self._notifier.subscribe()
            try:
                waiting = await self._ask(lambda queue: queue.uncopied())
                self._waiting = len(waiting)
                for job in waiting:
                    await self._copy(job)
                self.failure, pause = None, FIRST_PAUSE_SECONDS
                await notifier.wait(change, LONGEST_PAUSE_SECONDS)
                continue
            except DatabaseDown:
                pass  # the queue has logged it
            except Exception as error:  # whatever a storage's library raises
                self._fail(error)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _copy(self, job: Job) -> None:
        assert job.content_name is not None, "completed"
        content = self._files.folder(job.id) / job.content_name
        if not content.exists():  # another front's
            self._waiting -= 1
            return
        target = await run_in_threadpool(copy, content, job, self.address)
        await self._ask(lambda queue: queue.mark_copied(job.id, target))
        self._waiting -= 1
        log.info("clip %s is copied to %s", job.id, target)

    def _fail(self, error: Exception) -> None:
        """The kind of the error, and its first line: a library may put a whole request into the rest."""
        first_line = (str(error).splitlines() or [""])[0][:200]
        said = f"{type(error).__name__}: {first_line}"
        if said != self.failure:
            log.warning("clips cannot be copied to %s: %s", self.address, said)
        self.failure = said


def copy(content: Path, job: Job, address: str) -> str:
    """Copy the clip, and beside it a JSON file of what it was made from. Returns the clip's new address.

    A name that is there is whole: object stores write at once, elsewhere a part gets its name at the end.

    Raises:
        Exception: as the storage's library has it; OSError when fewer bytes arrived than were sent.
    """
    from fsspec.core import url_to_fs  # with s3fs a second of imports: only where it is asked for

    storage, folder = url_to_fs(address)
    name = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(job.created_at))}-{job.id}"
    target = f"{folder}/{name}.mp4"
    # An object has its name when all of it is there; a file elsewhere gets it then.
    is_object_store = not FILE_SYSTEMS.intersection([storage.protocol, *storage.protocol])
    if not is_object_store:
        storage.makedirs(folder, exist_ok=True)
    written = target if is_object_store else target + PART
    storage.put_file(str(content), written)
    storage.invalidate_cache()
    arrived, sent = int(storage.size(written)), content.stat().st_size
    if arrived != sent:
        raise OSError(f"{arrived} of {sent} bytes arrived")
    if written != target:
        storage.mv(written, target)
    storage.pipe_file(f"{folder}/{name}.json", _recipe(job))
    return f"{address}/{name}.mp4"


def _recipe(job: Job) -> bytes:
    """What the clip was made from, and what was measured of it."""
    made = {"id": job.id, "model": job.model, "prompt": job.prompt, "parameters": job.values}
    times = {"created_at": job.created_at, "completed_at": job.completed_at}
    return json.dumps(made | times | {"metadata": job.metadata}, indent=2).encode()
