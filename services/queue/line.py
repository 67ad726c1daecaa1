"""The line as it stands at one moment: who is next, and when each job will be finished."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.queue.work import Pace

LATE_SHARE = 0.05  # of its time: what a job that takes longer than expected is still given


@dataclass(frozen=True)
class Waiting:
    id: str
    model: str
    owner: str
    priority: int
    again: bool  # its turn had come already
    place: float  # among those of its owner
    number: int
    work: float | None


@dataclass(frozen=True)
class Running:
    id: str
    model: str
    started_at: float
    progress: float  # 0 to 1
    ends_at: float | None  # as its worker said last
    work: float | None


@dataclass(frozen=True)
class Place:
    """``position`` 1 is the next of its model, None runs; ``ends_at`` is None before the first clip."""

    position: int | None
    ends_at: float | None


class Line:
    """``served``: when each owner's latest job was begun. Times are seconds since the epoch."""

    def __init__(
        self,
        waiting: Sequence[Waiting],
        running: Sequence[Running],
        paces: Mapping[str, Pace],
        served: Mapping[str, float],
        *,
        read_at: float,
    ) -> None:
        self._waiting: dict[str, list[Waiting]] = defaultdict(list)
        for job in in_order(waiting, served):
            self._waiting[job.model].append(job)
        self._running: dict[str, list[Running]] = defaultdict(list)
        for each in running:
            self._running[each.model].append(each)
        self._paces = paces
        self._read_at = read_at

    def places(self, workers: Callable[[str], int]) -> dict[str, Place]:
        """Of every job that waits or runs; ``workers``: how many are ready for a model."""
        found: dict[str, Place] = {}
        for model in (*self._running, *self._waiting):
            found.update(self._of(model, workers(model)))
        return found

    def _of(self, model: str, workers: int) -> Iterator[tuple[str, Place]]:
        pace, running = self._paces[model], self._running.get(model, [])
        ends = {each.id: self._read_at + self._left(each, pace) for each in running}
        yield from ((name, Place(None, end)) for name, end in ends.items())
        free = [*ends.values(), *[self._read_at] * (max(workers, 1) - len(ends))]
        heapq.heapify(free)
        for position, each in enumerate(self._waiting.get(model, []), 1):
            seconds = pace.seconds(each.work)
            if seconds is None:
                yield each.id, Place(position, None)
                continue
            end = free[0] + seconds
            heapq.heapreplace(free, end)
            yield each.id, Place(position, end)

    def _left(self, job: Running, pace: Pace) -> float:
        """The worker's word counts the more, the farther the job is; before, what such clips took."""
        usual = pace.seconds(job.work)
        said = None if job.ends_at is None else max(job.ends_at - self._read_at, 0.0)
        if usual is None:
            return said or 0.0
        expected = max(usual - (self._read_at - job.started_at), LATE_SHARE * usual)
        return expected if said is None else job.progress * said + (1 - job.progress) * expected


def in_order(waiting: Iterable[Waiting], served: Mapping[str, float]) -> Iterator[Waiting]:
    """As ``order.next_number`` would give them, one after the other."""
    groups: dict[tuple[int, bool], dict[str, list[Waiting]]] = defaultdict(lambda: defaultdict(list))
    for each in waiting:
        groups[-each.priority, not each.again][each.owner].append(each)
    latest = dict(served)
    turn = max(served.values(), default=0.0)
    for group in sorted(groups):
        queues = {owner: sorted(found, key=_age, reverse=True) for owner, found in groups[group].items()}
        heap = [(latest.get(owner, 0.0), _age(queue[-1]), owner) for owner, queue in queues.items()]
        heapq.heapify(heap)
        while heap:
            owner = heap[0][2]
            yield queues[owner].pop()
            turn += 1  # whoever is served now was served last
            latest[owner] = turn
            if queues[owner]:
                heapq.heapreplace(heap, (turn, _age(queues[owner][-1]), owner))
            else:
                heapq.heappop(heap)


def _age(job: Waiting) -> tuple[float, int]:
    return job.place, job.number
