"""A real engine for tests that needs no model: moving bars, and every kind of trouble on demand.

``motion_bucket_id`` chooses: 1 to 100 a clip, 101 hangs and hears nothing, 102 is killed, 103 is out of
memory, 104 is a bug, 105 a problem that the user can act on, 106 is slow but polite, 107 finds the disk full
as long as ``full`` lies in the data directory, 108 has a stage with a long name.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from services.engines import base
from services.engines.base import Cancel, Cancelled, OutOfMemory, Report, Start
from services.parameters.values import Values

HANGS, IS_KILLED, OUT_OF_MEMORY, BUG, PROBLEM, SLOW, DISK_FULL, LONG_STAGE = range(101, 109)
GIB = 1024**3
STEP_SECONDS = 0.05


prepare = base.nothing_to_prepare


def load(plan: Plan, start: Start) -> Testcard:
    trouble = plan.settings.get("load")
    if trouble == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if trouble == "problem":
        raise KitError("the checkpoint lacks a key", fix="fetch it again")
    start.report("load", 1, 1)
    return Testcard(plan.data_dir)


class Testcard:
    __test__ = False

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[np.ndarray]:
        trouble = values.motion_bucket_id
        report("encode", 1, 1)
        if trouble == HANGS:
            time.sleep(3600)
        if trouble == IS_KILLED:
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == OUT_OF_MEMORY:
            raise OutOfMemory("no room", wanted_bytes=2 * GIB, peak_bytes=23 * GIB, total_bytes=24 * GIB)
        if trouble == BUG:
            raise ZeroDivisionError("a bug")
        if trouble == PROBLEM:
            raise KitError("the photo is too dark", fix="give a lighter one")
        if trouble == DISK_FULL and (self._data_dir / "full").exists():
            raise OSError(errno.ENOSPC, "no space left")
        if trouble == LONG_STAGE:
            report("decode" * 20, 0, 1)  # type: ignore[arg-type]
            time.sleep(2.5)  # until it was told
        steps = 200 if trouble == SLOW else 2
        report("sample", 0, steps)
        for step in range(steps):
            if cancelled():
                raise Cancel
            time.sleep(STEP_SECONDS)
            report("sample", step + 1, steps)
        frame = np.zeros((values.height, values.width, 3), np.uint8)
        for number in range(values.num_frames):
            frame[:] = 0
            frame[:, number * 4 : number * 4 + 8] = 255
            report("decode", number + 1, values.num_frames)
            yield frame.copy()
