"""A studio that nobody uses sleeps."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

from services.front.studio import page
from tests.services.front.running import SVD, plan

SECONDS = 3.0
WAKEUPS_A_SECOND = 40.0  # 12 by its own looks; 600 as Gradio has them


def test_a_studio_that_nobody_uses_sleeps(tmp_path: Path) -> None:
    studio = page.application(plan(SVD, tmp_path))

    async def woken() -> int:
        async with studio.router.lifespan_context(studio):
            await asyncio.sleep(1)  # what follows at once on its start
            before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
            await asyncio.sleep(SECONDS)
            return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before

    assert 0 < asyncio.run(woken()) / SECONDS < WAKEUPS_A_SECOND
