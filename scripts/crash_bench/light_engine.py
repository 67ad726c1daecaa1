"""A model of no weight: a clip takes a second, a prompt may ask for trouble. Copied beside its manifest."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

STEPS, STEP_SECONDS = 10, 0.1
LEDGER = Path(__file__).with_name("ledger")  # a line for each clip that was begun


def prepare(plan: Any, start: Any) -> None:
    """Nothing."""


def load(plan: Any, start: Any) -> Light:
    return Light()


class Light:
    def generate(self, values: Any, image: Any, report: Any, cancelled: Any) -> Iterator[np.ndarray]:
        with LEDGER.open("a") as ledger:
            ledger.write(f"{values.seed}\n")
        report("sample", 0, STEPS)
        if values.prompt == "poison":
            os.kill(os.getpid(), signal.SIGKILL)
        if values.prompt == "hang":
            time.sleep(3600)
        for step in range(STEPS):
            if cancelled():
                from services.engines.base import Cancel

                raise Cancel
            time.sleep(STEP_SECONDS)
            report("sample", step + 1, STEPS)
        for number in range(values.num_frames):
            report("decode", number + 1, values.num_frames)
            yield np.full((values.height, values.width, 3), (values.seed + number) % 256, np.uint8)
