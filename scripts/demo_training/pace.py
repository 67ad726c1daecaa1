"""How far a training has come, by the clock or by steps, and the learning rate that goes with it."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

import torch


class Pace:
    """Iterate over it: one step each, until the seconds or the steps are used up."""

    def __init__(self, seconds: float, steps: int | None, name: str, log: Path) -> None:
        self.seconds, self.steps, self.name, self.log = seconds, steps, name, log
        self.started = time.monotonic()
        self.step = 0
        self.said: list[dict[str, Any]] = []

    @property
    def share(self) -> float:
        """0 at the start, 1 at the end."""
        if self.steps is not None:
            return self.step / self.steps
        return (time.monotonic() - self.started) / self.seconds

    def rate(self, peak: float, warm_steps: int = 100) -> float:
        """Linear warm-up, then half a cosine down to a fiftieth."""
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, self.share)))
        return peak * min(1.0, (self.step + 1) / warm_steps) * (0.02 + 0.98 * cosine)

    def __iter__(self) -> Pace:
        return self

    def __next__(self) -> int:
        if self.share >= 1:
            raise StopIteration
        self.step += 1
        return self.step

    def say(self, **values: Any) -> None:
        """A line in the log and on the screen, every 50 steps: the values' means since the last one."""
        self.said.append(values)
        if self.step % 50 and self.step != 1:
            return
        means = {key: sum(map(_number, (old[key] for old in self.said))) / len(self.said) for key in values}
        self.said.clear()
        line = {"part": self.name, "step": self.step, "seconds": round(time.monotonic() - self.started, 1)}
        line |= {key: float(f"{mean:.5g}") for key, mean in means.items()}
        print(json.dumps(line), flush=True)
        with self.log.open("a") as file:
            file.write(json.dumps(line) + "\n")


def _number(value: Any) -> float:
    return float(value.detach() if isinstance(value, torch.Tensor) else value)
