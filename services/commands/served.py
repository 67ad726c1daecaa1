"""Clips from the service that runs: its own HTTP API, with the token of the data directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from bootstrap.errors import KitError
from bootstrap.terminal import Terminal
from services.client import AsyncKinokit, KinokitError, QueueFull, Unreachable, Video
from services.commands.clip_maker import Failed, Made, Report, progress_line

LOOK_SECONDS = 0.3
FULL_SECONDS = 3.0  # the queue is full: others wait too


class ServedMaker:
    """One connection to the service."""

    def __init__(self, kit: AsyncKinokit, model: str, inputs: tuple[str, ...]) -> None:
        self.model = model
        self.inputs = inputs
        self._kit = kit

    async def make(self, given: Mapping[str, Any], image: Path | None, output: Path, report: Report) -> Made:
        started = time.monotonic()
        with _advising():
            video = await self._create(given, image, report)
            try:
                async for seen in self._kit.watch(video.id, every_seconds=LOOK_SECONDS):
                    video = seen
                    report(_line(video))
            except (asyncio.CancelledError, KeyboardInterrupt):
                with suppress(KinokitError):
                    await self._kit.cancel(video.id)
                raise
            if video.status != "completed":
                raise Failed(
                    video.error_message or "the clip was not made", fix="look at `kinokit logs --worker`"
                )
            await self._download(video.id, output)
        seconds = time.monotonic() - started
        return Made(output, video.seed or 0, video.num_frames or 0, video.size, seconds, video.warnings)

    async def _create(self, given: Mapping[str, Any], image: Path | None, report: Report) -> Video:
        while True:
            try:
                return await self._kit.create(image=image, **given)
            except QueueFull:
                report("waiting: the service's queue is full")
                await asyncio.sleep(FULL_SECONDS)

    async def _download(self, video_id: str, output: Path) -> None:
        try:
            await self._kit.download(video_id, output)
        except OSError as error:
            raise KitError(
                f"{output} cannot be written: {error.strerror}", fix="choose another --output"
            ) from error


@asynccontextmanager
async def connect(record: Mapping[str, Any], terminal: Terminal) -> AsyncIterator[ServedMaker]:
    """Wait until the service is ready. KitError when it has failed."""
    token = None
    if record.get("auth"):
        token = Path(record["token_file"]).read_text().split()[0]  # noqa: ASYNC240
    async with AsyncKinokit(record["local_url"], token, waits_for_room=False) as kit:
        plan = await _ready(kit, terminal)
        yield ServedMaker(kit, plan["model"], tuple(plan["inputs"]))


async def _ready(kit: AsyncKinokit, terminal: Terminal) -> Mapping[str, Any]:
    """The plan that it runs."""
    while True:
        with _advising():
            status = await kit.status()
        boot = status["boot"]
        if boot["state"] == "ready":
            plan: Mapping[str, Any] = status["plan"]
            return plan
        if boot["state"] in ("failed", "stopping"):
            failure = boot.get("failure") or {"problem": f"it is {boot['state']}", "fix": "kinokit up"}
            raise KitError(f"the service cannot make clips: {failure['problem']}", fix=failure["fix"])
        terminal.live(f"the service is {boot['state']}")
        await asyncio.sleep(LOOK_SECONDS)


@contextmanager
def _advising() -> Iterator[None]:
    """The service's refusals as this command's: ``Failed``, or ``KitError`` where nobody answers."""
    try:
        yield
    except Unreachable as error:
        raise KitError(
            f"the service does not answer: {error.message}", fix="look at `kinokit status` and `kinokit logs`"
        ) from error
    except KinokitError as error:
        raise Failed(error.message, fix=error.fix) from error


def _line(video: Video) -> str:
    if video.status == "queued":
        return f"queued{_place(video.queue_position)}"
    return progress_line(video.stage, video.progress / 100, video.eta_seconds)


def _place(position: int | None) -> str:
    """
    >>> [_place(each) for each in (None, 1, 3)]
    ['', ', the next', ', 2 before it']
    """
    if not position:
        return ""
    return ", the next" if position == 1 else f", {position - 1} before it"
