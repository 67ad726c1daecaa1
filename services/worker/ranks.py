"""The GPU child as a group: one process for each rank. They start, work and end together.

Rank 0 hands the frames over and speaks for the group. With one rank it is the whole of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from services.worker.gpu_process import ChildProcess, Died
from services.worker.protocol import (
    Cancelled,
    CancelRun,
    Event,
    Failed,
    LoadFailed,
    Loading,
    Order,
    Outcome,
    Progress,
    Ready,
    Run,
)

END_SECONDS = 4.0  # for the other ranks to end a run that has failed in one


class Group:
    """``receive`` gives one event after the other, as of one child; it raises ``Died`` once any rank has."""

    def __init__(self, ranks: list[ChildProcess]) -> None:
        self._ranks = ranks
        self._events: asyncio.Queue[tuple[int, Event | Died]] = asyncio.Queue()
        self._ready: dict[int, Ready] = {}
        self._outcomes: dict[int, Outcome] = {}
        self._failed: Failed | None = None  # of the first rank that did
        self._deadline: float | None = None  # of the run that has failed
        self._died: Died | None = None
        self.was_killed = False  # on purpose: it takes no further job, and its end is no death
        self._readers = [asyncio.create_task(self._read(rank)) for rank in range(len(ranks))]

    @classmethod
    async def start(
        cls,
        plan: Path,
        *,
        world: int = 1,
        engine: str | None = None,
        env: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> Group:
        """As ``ChildProcess.start``, ``world`` times."""
        ranks = [
            await ChildProcess.start(plan, rank=rank, world=world, engine=engine, env=env, log=log)
            for rank in range(world)
        ]
        return cls(ranks)

    @property
    def pids(self) -> list[int]:
        return [rank.pid for rank in self._ranks]

    async def receive(self) -> Event:
        while self._died is None:
            try:
                rank, event = await self._next()
            except TimeoutError:  # a rank waits for one that has failed, and does not see the cancel
                self.kill()
                return self._end_run()
            if isinstance(event, Died):
                self._died = self._named(rank, event)
                self.kill()
                break
            merged = await self._merge(rank, event)
            if merged is not None:
                return merged
        assert self._died is not None
        raise self._died

    async def send(self, order: Order) -> None:
        """To every rank. One that has died receives nothing: ``receive`` will raise."""
        if isinstance(order, Run):
            self._outcomes, self._failed, self._deadline = {}, None, None
        for rank in self._ranks:
            await rank.send(order)

    @property
    def has_loaded(self) -> bool:
        return len(self._ready) == len(self._ranks)

    def kill(self) -> None:
        self.was_killed = self.was_killed or self._died is None
        for rank in self._ranks:
            rank.kill()

    async def close(self) -> None:
        """Let all of them end, and kill those that do not."""
        await asyncio.gather(*(rank.close() for rank in self._ranks))
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _read(self, rank: int) -> None:
        try:
            while True:
                self._events.put_nowait((rank, await self._ranks[rank].receive()))
        except Died as died:
            self._events.put_nowait((rank, died))

    async def _next(self) -> tuple[int, Event | Died]:
        if self._deadline is None:
            return await self._events.get()
        left = self._deadline - asyncio.get_running_loop().time()
        return await asyncio.wait_for(self._events.get(), max(left, 0))

    async def _merge(self, rank: int, event: Event) -> Event | None:
        """What one rank's event is for the group; None: nothing yet."""
        match event:
            case Loading() | Progress():
                return event if rank == 0 else None
            case Ready():
                self._ready[rank] = event
                return self._ready[0] if len(self._ready) == len(self._ranks) else None
            case LoadFailed():
                self.kill()  # the others may wait for this one for ever
                return event
        self._outcomes[rank] = event
        if isinstance(event, Failed) and self._failed is None:
            self._failed = event
            self._deadline = asyncio.get_running_loop().time() + END_SECONDS
            for other in set(range(len(self._ranks))) - set(self._outcomes):
                await self._ranks[other].send(CancelRun())
        return self._end_run() if len(self._outcomes) == len(self._ranks) else None

    def _end_run(self) -> Outcome:
        """The group's outcome: a failure before a cancel, and that before rank 0's clip."""
        self._deadline = None
        if self._failed is not None:
            return self._failed
        cancelled = [each for each in self._outcomes.values() if isinstance(each, Cancelled)]
        return cancelled[0] if cancelled else self._outcomes[0]

    def _named(self, rank: int, died: Died) -> Died:
        return died if len(self._ranks) == 1 else Died(f"{died} (rank {rank} of {len(self._ranks)})")
