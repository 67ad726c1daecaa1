"""Would the next job be accepted and run? Beyond the boot: the database, the disk, a pause, the end."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bootstrap.errors import KitError
from services.front import refusals
from services.front.health.boot_state import BootState
from services.queue.job import DatabaseDown
from services.queue.notifier import Notifier

if TYPE_CHECKING:
    from services.queue.queue import Queue

Ask = Callable[[Callable[["Queue"], Any]], Awaitable[Any]]  # ``Context.ask``
FRESH_SECONDS = 1.0  # an answer holds so long: health checks come by the dozen
WAIT_SECONDS = 2.0  # a database or a disk that takes longer does not answer
MIB = 1024**2
MIN_FREE_MIB = 512  # less is a full disk, where nobody says otherwise: what is under way still fits
SMALL_DISK_PARTS = 10  # of a small disk this part


@dataclass(frozen=True)
class Obstacle:
    """Why no job runs now. It may pass by itself; what must be done says ``fix``."""

    reason: Literal["stopping", "draining", "database_away", "disk_full", "queue_paused"]
    problem: str
    fix: str

    @property
    def state(self) -> str:
        return "stopping" if self in (STOPPING, DRAINING) else "paused"

    def public(self) -> dict[str, str]:
        return asdict(self)


STOPPING = Obstacle("stopping", "this service is about to end", "ask again once it has started anew")
DRAINING = Obstacle(
    "draining",
    "this box is being emptied: it finishes its clips and takes no other",
    "ask another box, or let it go on with POST /v1/queue/resume",
)
AWAY = Obstacle("database_away", "the queue's database does not answer", "try again in a while")
PAUSED = Obstacle("queue_paused", "the queue is paused", "POST /v1/queue/resume lets it go on")


class Readiness:
    def __init__(
        self,
        data_dir: Path,
        boot: BootState,
        notifier: Notifier,
        ask: Ask,
        *,
        min_free_disk_mib: float | None,
    ) -> None:
        """``min_free_disk_mib``: with less the disk counts as full; None: by its size."""
        self._data_dir = data_dir
        self._boot = boot
        self._notifier = notifier
        self._ask = ask
        self._min_free_mib = min_free_disk_mib
        self._asking: asyncio.Task[Obstacle | None] | None = None
        self._asked_at = 0.0
        self.is_draining = False  # of this front alone, until it ends

    async def obstacle(self) -> Obstacle | None:
        """What stands in the way now, at most a second old. It takes two seconds at most."""
        if self._notifier.stopping or self._boot.is_stopping():
            return STOPPING
        if self.is_draining:
            return DRAINING
        is_old = time.monotonic() - self._asked_at >= FRESH_SECONDS
        if self._asking is None or (is_old and self._asking.done()):  # never two: one that hangs has a thread
            self._asked_at = time.monotonic()
            self._asking = asyncio.create_task(self._look())
        asking = self._asking
        done, _ = await asyncio.wait({asking}, timeout=WAIT_SECONDS)
        return asking.result() if done else AWAY

    def forget(self) -> None:
        """Something has changed that the next answer must know."""
        self._asking = None

    async def holds_jobs_back(self) -> bool:
        """No worker shall begin a clip. Where the database is away, the claim itself says so."""
        found = await self.obstacle()
        return found is not None and found is not AWAY

    async def admit(self) -> None:
        """Raises ``ApiError`` where a new job could not be kept. A paused queue takes jobs in."""
        found = await self.obstacle()
        if found is not None and found.reason == "disk_full":
            raise refusals.disk_full(found.problem, found.fix)
        if found in (STOPPING, DRAINING):
            raise refusals.stopping(found.problem, found.fix)

    async def _look(self) -> Obstacle | None:
        try:
            return await asyncio.to_thread(self._disk) or await self._database()
        except (DatabaseDown, OSError):
            return AWAY
        except KitError:
            return None  # the state of the boot says what is wrong

    async def _database(self) -> Obstacle | None:
        return PAUSED if await self._ask(lambda queue: queue.pause.is_on()) else None

    def _disk(self) -> Obstacle | None:
        disk = shutil.disk_usage(self._data_dir)
        free, kept = disk.free / MIB, self._min_free_mib
        if kept is None:
            kept = min(MIN_FREE_MIB, disk.total / MIB / SMALL_DISK_PARTS)
        if free >= kept:
            return None
        return Obstacle(
            "disk_full",
            f"the disk is full: {free:.0f} MiB are free, {kept:.0f} MiB have to be",
            "delete videos you do not need; the queue goes on by itself",
        )
