"""Clips from the service that runs: its own HTTP API, with the token of the data directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

from bootstrap import files
from bootstrap.errors import KitError
from bootstrap.terminal import Terminal
from services.commands.clip_maker import Failed, Made, Report, progress_line

LOOK_SECONDS = 0.3
FULL_SECONDS = 3.0  # the queue is full: others wait too
AWAY_SECONDS = 60.0  # the front is started again within a second or two


class ServedMaker:
    """One connection to the service."""

    def __init__(self, http: httpx.AsyncClient, model: str, inputs: tuple[str, ...]) -> None:
        self.model = model
        self.inputs = inputs
        self._http = http

    async def make(self, given: Mapping[str, Any], image: Path | None, output: Path, report: Report) -> Made:
        started = time.monotonic()
        video = await self._create(given, image, report)
        try:
            video = await self._finished(video["id"], report)
        except (asyncio.CancelledError, KeyboardInterrupt):
            with suppress(httpx.HTTPError):
                await self._http.post(f"/v1/videos/{video['id']}/cancel")
            raise
        if video["status"] != "completed":
            error = video["error"] or {}
            raise Failed(str(error.get("message", "the clip was not made")), fix=_advice(error))
        await self._download(video["id"], output)
        seconds = time.monotonic() - started
        warnings = tuple(video["warnings"])
        return Made(output, video["seed"], video["num_frames"], video["size"], seconds, warnings)

    async def _create(self, given: Mapping[str, Any], image: Path | None, report: Report) -> dict[str, Any]:
        form = {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in given.items()
        }
        photo = await asyncio.to_thread(image.read_bytes) if image else None
        while True:
            files = {"input_reference": (image.name, photo)} if image and photo is not None else None
            answer = await self._asked("POST", "/v1/videos", data=form, files=files)
            if answer.status_code != 429:
                break
            report("waiting: the service's queue is full")
            await asyncio.sleep(FULL_SECONDS)
        return _json(answer)

    async def _finished(self, video_id: str, report: Report) -> dict[str, Any]:
        while True:
            video = _json(await self._asked("GET", f"/v1/videos/{video_id}"))
            if video["status"] in ("completed", "failed"):
                return video
            if video["status"] == "queued":
                report(f"queued{_place(video.get('queue_position'))}")
            else:
                report(progress_line(video.get("stage"), video["progress"] / 100, video.get("eta_seconds")))
            await asyncio.sleep(LOOK_SECONDS)

    async def _download(self, video_id: str, output: Path) -> None:
        answer = await self._asked("GET", f"/v1/videos/{video_id}/content")
        if not answer.is_success:
            _json(answer)
        try:
            await asyncio.to_thread(files.replace_bytes, output, answer.content)
        except OSError as error:
            raise KitError(
                f"{output} cannot be written: {error.strerror}", fix="choose another --output"
            ) from error

    async def _asked(self, method: str, path: str, **given: Any) -> httpx.Response:
        """A front that is being started again is waited for."""
        until = time.monotonic() + AWAY_SECONDS
        while True:
            try:
                return await self._http.request(method, path, **given)
            except httpx.TransportError as error:
                if time.monotonic() > until:
                    raise KitError(
                        f"the service does not answer: {error}",
                        fix="look at `kinokit status` and `kinokit logs`",
                    ) from error
                await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def connect(record: Mapping[str, Any], terminal: Terminal) -> AsyncIterator[ServedMaker]:
    """Wait until the service is ready. KitError when it has failed."""
    headers = {}
    if record.get("auth"):
        token = Path(record["token_file"]).read_text().split()[0]  # noqa: ASYNC240
        headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(
        base_url=record["local_url"], headers=headers, timeout=60, trust_env=False
    ) as http:
        maker = ServedMaker(http, record["model"], ())
        while (status := _json(await maker._asked("GET", "/status")))["boot"]["state"] != "ready":
            boot = status["boot"]
            if boot["state"] in ("failed", "stopping"):
                failure = boot.get("failure") or {"problem": f"it is {boot['state']}", "fix": "kinokit up"}
                raise KitError(f"the service cannot make clips: {failure['problem']}", fix=failure["fix"])
            terminal.live(f"the service is {boot['state']}")
            await asyncio.sleep(LOOK_SECONDS)
        maker.model, maker.inputs = status["plan"]["model"], tuple(status["plan"]["inputs"])
        yield maker


def _json(answer: httpx.Response) -> dict[str, Any]:
    """The answer. Raises ``Failed`` with the service's own message."""
    try:
        found = answer.json()
    except ValueError:
        found = {}
    if answer.is_success and isinstance(found, dict):
        return found
    error = found.get("error", {}) if isinstance(found, dict) else {}
    message = error.get("message", f"the service answered with HTTP {answer.status_code}")
    raise Failed(message, fix=error.get("fix", "look at `kinokit logs`"))


def _advice(error: Mapping[str, Any]) -> str:
    return str(error.get("fix") or "look at `kinokit logs --worker`")


def _place(position: int | None) -> str:
    """
    >>> [_place(each) for each in (None, 1, 3)]
    ['', ', the next', ', 2 before it']
    """
    if not position:
        return ""
    return ", the next" if position == 1 else f", {position - 1} before it"
