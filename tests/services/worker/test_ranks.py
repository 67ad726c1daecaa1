"""A GPU child of two processes: they get ready, work, fail and die as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from services.worker.gpu_process import Died
from services.worker.protocol import (
    Cancelled,
    CancelRun,
    Done,
    Event,
    Failed,
    LoadFailed,
    Ready,
    Run,
)
from services.worker.ranks import Group
from tests.services.worker import both_ranks, crew
from tests.support.processes import gone
from tests.support.waiting import wait_for

ENGINE = "tests.services.worker.both_ranks"


@asynccontextmanager
async def group(folder: Path, **settings: Any) -> AsyncIterator[Group]:
    crew.plan(folder, **settings).write(folder / "plan.json")
    started = await Group.start(folder / "plan.json", world=2, engine=ENGINE, log=folder / "log")
    try:
        yield started
    finally:
        started.kill()
        await started.close()


async def until(group: Group, *kinds: type[Event]) -> Event:
    while True:
        event = await asyncio.wait_for(group.receive(), 60)
        if isinstance(event, kinds):
            return event


async def ready(group: Group) -> None:
    assert isinstance(await until(group, Ready, LoadFailed), Ready)


async def clip(group: Group, folder: Path, seed: int, motion_bucket_id: int = 1) -> Event:
    values = {"width": 64, "height": 48, "num_frames": 5, "fps": 7, "seed": seed}
    values["motion_bucket_id"] = motion_bucket_id
    await group.send(Run(values=values, image=None, path=folder / "clip.mp4"))
    return await until(group, Done, Cancelled, Failed)


def test_both_make_one_clip_and_rank_0_hands_it_over(tmp_path: Path) -> None:
    async def both() -> Event:
        async with group(tmp_path) as made:
            await ready(made)
            return await clip(made, tmp_path, seed=1)

    done = asyncio.run(both())
    assert isinstance(done, Done)
    assert (done.clip.frames, done.clip.bytes) == (5, (tmp_path / "clip.mp4").stat().st_size)
    assert {path.name for path in tmp_path.glob("clip-1-*")} == {"clip-1-rank-0", "clip-1-rank-1"}


def test_the_group_is_ready_when_both_are(tmp_path: Path) -> None:
    async def both() -> None:
        async with group(tmp_path, waits=True) as made:
            readiness = asyncio.create_task(ready(made))
            await asyncio.to_thread(wait_for, lambda: len(list(tmp_path.glob("loading-*-of-2"))) == 2, 60)
            await asyncio.sleep(0.5)  # rank 0 has nothing to wait for
            assert not readiness.done()
            (tmp_path / "go").touch()
            await readiness

    asyncio.run(both())


def test_a_rank_that_cannot_load_is_reported_once_and_ends_both(tmp_path: Path) -> None:
    async def both() -> tuple[Event, list[int]]:
        async with group(tmp_path, fails=True) as made:
            failed = await until(made, LoadFailed, Ready)
            with pytest.raises(Died):
                await until(made, LoadFailed, Ready)
            return failed, made.pids

    failed, pids = asyncio.run(both())
    assert isinstance(failed, LoadFailed)
    assert "no second GPU" in failed.problem
    assert all(gone(pid) for pid in pids)


def test_one_that_dies_ends_both_and_is_reported_by_its_rank(tmp_path: Path) -> None:
    async def both() -> list[int]:
        async with group(tmp_path) as made:
            await ready(made)
            for _ in range(2):  # asked again it answers the same, not with the other rank's death
                with pytest.raises(Died, match=r"SIGKILL.*\(rank 1 of 2\)"):
                    await clip(made, tmp_path, seed=1, motion_bucket_id=both_ranks.DIES)
            wait_for(lambda: all(gone(pid) for pid in made.pids), 5)
            return made.pids

    assert len(set(asyncio.run(both()))) == 2


def test_kill_ends_both(tmp_path: Path) -> None:
    async def both() -> None:
        async with group(tmp_path) as made:
            await ready(made)
            made.kill()
            with pytest.raises(Died):
                await made.receive()
            wait_for(lambda: all(gone(pid) for pid in made.pids), 5)

    asyncio.run(both())


def test_out_of_memory_in_one_fails_the_clip_once_and_the_next_one_is_made(tmp_path: Path) -> None:
    async def both() -> tuple[Event, Event]:
        async with group(tmp_path) as made:
            await ready(made)
            failed = await clip(made, tmp_path, seed=1, motion_bucket_id=both_ranks.OUT_OF_MEMORY)
            return failed, await clip(made, tmp_path, seed=2)

    failed, after = asyncio.run(both())
    assert isinstance(failed, Failed)
    assert failed.code == "out_of_memory"
    assert isinstance(after, Done)


def test_a_rank_that_waits_for_a_failed_one_for_ever_is_killed(tmp_path: Path) -> None:
    async def both() -> Event:
        async with group(tmp_path) as made:
            await ready(made)
            failed = await clip(made, tmp_path, seed=1, motion_bucket_id=both_ranks.DEAF)
            with pytest.raises(Died):
                await made.receive()
            return failed

    failed = asyncio.run(both())
    assert isinstance(failed, Failed)
    assert failed.code == "out_of_memory"


def test_a_cancel_reaches_both(tmp_path: Path) -> None:
    async def both() -> Event:
        async with group(tmp_path) as made:
            await ready(made)
            slow = {
                "width": 64,
                "height": 48,
                "num_frames": 5,
                "seed": 1,
                "motion_bucket_id": both_ranks.SLOW,
            }
            await made.send(Run(values=slow, image=None, path=tmp_path / "clip.mp4"))
            await asyncio.to_thread(wait_for, lambda: len(list(tmp_path.glob("clip-1-*"))) == 2, 30)
            await made.send(CancelRun())
            return await until(made, Done, Cancelled, Failed)

    assert isinstance(asyncio.run(both()), Cancelled)
