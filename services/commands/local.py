"""Clips without a service: the same boot and the same GPU child, without a port."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bootstrap import data_directory, files
from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from bootstrap.launch import steps
from bootstrap.launch.document import BootDocument
from bootstrap.launch.processes import worker_environment
from bootstrap.settings import Settings
from bootstrap.terminal import Terminal
from services import parameters
from services.commands.clip_maker import Failed, Made, Report, photo, progress_line
from services.parameters.values import Values
from services.video import fit
from services.worker import protocol
from services.worker.gpu_process import Died
from services.worker.protocol import Done, LoadFailed, Loading, Outcome, Progress, Ready, Run
from services.worker.ranks import Group

TICK_SECONDS = 0.1


class LocalMaker:
    """One GPU child; a new one when it dies."""

    def __init__(self, plan: Plan, folder: Path, terminal: Terminal) -> None:
        self.model = plan.model
        self.inputs: tuple[str, ...] = plan.inputs
        self._plan = plan
        self._folder = folder
        self._terminal = terminal
        self._child: Group | None = None

    async def make(self, given: Mapping[str, Any], image: Path | None, output: Path, report: Report) -> Made:
        record, warnings = self._complete(given, image)
        values = Values.of(record)
        child = await self._loaded()
        started = time.monotonic()
        clip = self._folder / "clip.mp4"
        await child.send(Run(values=record, image=image, path=clip))
        try:
            outcome = await self._outcome(child, report)
        except Died as died:
            self._child = None
            raise Failed(f"the GPU process {died}", fix=f"read {self._log}") from died
        if not isinstance(outcome, Done):
            problem = outcome.message if isinstance(outcome, protocol.Failed) else "the clip was cancelled"
            raise Failed(problem, fix=f"the log has more: {self._log}")
        try:
            await asyncio.to_thread(_place, clip, output)
        except OSError as error:
            raise KitError(
                f"{output} cannot be written: {error.strerror}", fix="choose another --output"
            ) from error
        return Made(
            output,
            values.seed,
            outcome.clip.frames,
            f"{values.width}x{values.height}",
            time.monotonic() - started,
            warnings,
        )

    async def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            await self._child.close()

    @property
    def _log(self) -> Path:
        return self._plan.data_dir / "logs/generate.log"

    def _complete(
        self, given: Mapping[str, Any], image: Path | None
    ) -> tuple[dict[str, Any], tuple[str, ...]]:
        picture = photo(image) if image is not None else None
        size = (picture.width, picture.height) if picture else None
        try:
            request = parameters.complete(
                parameters.parse(given), self._plan, has_image=image is not None, image_size=size
            )
        except parameters.RequestError as error:
            raise Failed(error.problem, fix=error.fix) from error
        if picture is None or size is None:
            return request.values, request.warnings
        asked = Values.of(request.values)
        lost = fit.warnings(size, width=asked.width, height=asked.height, fit=asked.fit)
        return request.values, (*picture.warnings, *lost, *request.warnings)

    async def _loaded(self) -> Group:
        if self._child is not None:
            return self._child
        plan_path = self._folder / "plan.json"
        self._plan.write(plan_path)
        group = self._plan.gpu_groups[0] if self._plan.gpu_groups else ()
        env = {**os.environ, **worker_environment(self._plan, group, os.environ)}
        child = await Group.start(plan_path, env=env, log=self._log)
        self._child = child
        try:
            while isinstance(event := await child.receive(), Loading):
                self._terminal.live(f"loading the model: {event.detail}")
        except Died as died:
            raise KitError(
                f"the GPU process {died} while loading the model", fix=f"read {self._log}"
            ) from died
        if isinstance(event, LoadFailed):
            raise KitError(event.problem, fix=event.fix)
        if isinstance(event, Ready):
            self._terminal.say(f"  {event.detail}")
        return child

    async def _outcome(self, child: Group, report: Report) -> Outcome:
        while True:
            event = await child.receive()
            if isinstance(event, Progress):
                report(progress_line(event.stage, event.progress, event.eta_seconds))
            elif isinstance(event, Outcome):
                return event


@asynccontextmanager
async def boot(
    settings: Settings, data_dir: Path, env: Mapping[str, str], terminal: Terminal
) -> AsyncIterator[LocalMaker]:
    """Detect, choose, fetch and plan; then a folder for what is under way."""
    lock = data_directory.occupy(data_dir, by="a command")
    document = BootDocument(None)
    booting = asyncio.create_task(asyncio.to_thread(steps.run, settings, data_dir, env, document))
    while not booting.done():
        terminal.show(document.snapshot())
        await asyncio.wait([booting], timeout=TICK_SECONDS)
    terminal.show(document.snapshot())
    plan = booting.result()
    with lock, tempfile.TemporaryDirectory(prefix="generate-", dir=data_dir / "cache") as folder:
        maker = LocalMaker(plan, Path(folder), terminal)
        try:
            yield maker
        finally:
            await maker.close()


def _place(clip: Path, output: Path) -> None:
    """Under its name only when it is whole; the two may lie on different disks."""
    with files.replacing(output) as part:
        shutil.move(clip, part)
