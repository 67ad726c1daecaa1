"""An engine of two ranks without a GPU: they meet before each clip, as ranks do in a collective.

``motion_bucket_id`` chooses what rank 1 does: 1 its part, 101 dies, 102 is out of memory, 103 the same while
rank 0 waits for it and does not look at the cancel; 104: both go on until they are cancelled.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bootstrap.choose.plan import Plan
from services.engines import base
from services.engines.base import Cancel, Cancelled, Frame, OutOfMemory, Report, Start
from services.parameters.values import Values

DIES, OUT_OF_MEMORY, DEAF, SLOW = 101, 102, 103, 104

prepare = base.nothing_to_prepare


def load(plan: Plan, start: Start) -> BothRanks:
    """Rank 1 waits for the file ``go`` where the plan says so."""
    (plan.data_dir / f"loading-{start.rank}-of-{start.world}").touch()
    while start.rank == 1 and plan.settings.get("waits") and not (plan.data_dir / "go").exists():
        time.sleep(0.02)
    if start.rank == 1 and plan.settings.get("fails"):
        raise ValueError("no second GPU")
    return BothRanks(plan.data_dir, start.rank)


class BothRanks:
    def __init__(self, folder: Path, rank: int) -> None:
        self._folder = folder
        self._rank = rank

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[Frame]:
        trouble = values.motion_bucket_id
        if self._rank == 1 and trouble == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._rank == 1 and trouble in (OUT_OF_MEMORY, DEAF):
            raise OutOfMemory("no room", wanted_bytes=1, peak_bytes=2, total_bytes=3)
        self._meet(values.seed, cancelled if trouble != DEAF else lambda: False)
        while trouble == SLOW:
            if cancelled():
                raise Cancel
            time.sleep(0.02)
        if self._rank == 0:
            for number in range(values.num_frames):
                report("decode", number + 1, values.num_frames)
                yield np.full((values.height, values.width, 3), number, np.uint8)

    def _meet(self, seed: int, cancelled: Cancelled) -> None:
        (self._folder / f"clip-{seed}-rank-{self._rank}").touch()
        while not (self._folder / f"clip-{seed}-rank-{1 - self._rank}").exists():
            if cancelled():
                raise Cancel
            time.sleep(0.02)
