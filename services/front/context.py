"""What the routes share. ``app.state.context`` holds the one that runs."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from anyio.to_thread import run_sync
from fastapi import Depends, Request

from bootstrap.errors import KitError
from services.front.answers.estimates import Estimates
from services.front.answers.stills import Stills
from services.front.answers.watch import Watch
from services.front.creation.once import UnderWay
from services.front.creation.photo_checks import PhotoChecks
from services.front.creation.uploads import Uploads
from services.front.door.links import Links
from services.front.health.boot_state import BootState
from services.front.health.counts import Counts
from services.front.health.fleet import Fleet
from services.front.health.presence import Presence
from services.front.health.readiness import Readiness
from services.front.metrics.spending import Spending
from services.front.metrics.tally import Tally
from services.front.results.outbox import Outbox
from services.front.results.readers import Readers
from services.front.results.retention import Retention
from services.front.results.webhooks import Webhooks
from services.front.settings import Settings
from services.keys.key_file import KeyFile
from services.queue.files import Files
from services.queue.notifier import Notifier
from services.queue.workers import WorkerRegistry

if TYPE_CHECKING:
    from services.queue.queue import Queue

Answer = TypeVar("Answer")
StudioState = Literal["starting", "ready", "failed"]


class Context:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.files = Files(settings.data_dir)
        self.keys = KeyFile(settings.data_dir)
        self.workers = WorkerRegistry()
        self.boot = BootState(settings.data_dir, self.workers)
        self.fleet = Fleet(self.workers, self.boot, self.ask, is_shared=settings.is_shared)
        self.counts = Counts(self.ask, max_queued=settings.max_queued)
        self.tally = Tally()
        self.spending = Spending(self.ask)
        self.presence = Presence()
        self.notifier = Notifier()
        self.estimates = Estimates(self.ask, self.notifier, self.workers)
        self.watch = Watch(self.ask, self.notifier, self.estimates)
        self.under_way = UnderWay()
        self.links = Links(settings.data_dir)
        self.readiness = Readiness(
            settings.data_dir,
            self.boot,
            self.notifier,
            self.ask,
            min_free_disk_mib=settings.min_free_disk_mib,
        )
        self.uploads = Uploads()
        self.stills = Stills()
        self.photos = PhotoChecks()
        self.outbox = None  # where nothing is copied out of the box
        if settings.results_url:
            self.outbox = Outbox(settings, self.files, self.notifier, self.ask)
        self.readers = Readers(grace_seconds=settings.read_grace_seconds)
        self.retention = Retention(settings, self.files, self.notifier, self.ask, self.readers)
        self.webhooks = Webhooks(settings, self.notifier, self.ask)
        self.studio: StudioState | None = None  # None where no studio is asked for
        self._queue: Queue | None = None
        self._opening = Lock()

    @property
    def queue(self) -> Queue:
        """Opened on first use: SQLAlchemy is half of what the front imports, and the port answers before.

        Never from the event loop: use ``ask``.
        """
        with self._opening:
            if self._queue is None:
                from services.queue.queue import Queue

                self._queue = Queue(self.settings.queue_url, lease_seconds=self.settings.lease_seconds)
                self._queue.grant_grace()
            return self._queue

    async def ask(self, verb: Callable[[Queue], Answer]) -> Answer:
        """In a thread: the queue may have to be opened first, and its database may be far away."""
        try:
            answer = await run_sync(lambda: verb(self.queue), abandon_on_cancel=True)
        except KitError as error:
            self.boot.queue_failure = error
            raise
        self.boot.queue_failure = None
        return answer

    def close(self) -> None:
        self.photos.close()
        with self._opening:
            if self._queue is not None:
                self._queue.close()


def of(request: Request) -> Context:
    context: Context = request.app.state.context
    return context


# What a route asks for
Shared = Annotated[Context, Depends(of)]
