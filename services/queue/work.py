"""How much work a clip is, and how long so much takes: learned from the clips that are finished."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median
from typing import Any

SAMPLES = 20  # the latest finished clips of a model


def of(values: Mapping[str, Any]) -> float | None:
    """Frames x pixels x steps, in millions; None when the values do not say."""
    pixels = math.prod(values.get(side) or 0 for side in ("num_frames", "width", "height"))
    if not pixels:
        return None
    guided = (values.get("guidance_scale") or 0) > 1  # each step computes twice
    return float(pixels * (values.get("num_inference_steps") or 1) * (2 if guided else 1) / 1e6)


@dataclass(frozen=True)
class Sample:
    """A finished clip."""

    work: float | None
    seconds: float


class Pace:
    """Seconds of a clip by its work, for one model.

    A line through the samples that single slow ones do not bend (Theil and Sen's): a clip costs something
    before its first frame, too. What it says lies between "all take the same time" and "twice the work,
    twice the time".
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._mean = fmean(each.seconds for each in samples) if samples else None
        known = [(each.work, each.seconds) for each in samples if each.work]
        slopes = [(s - r) / (v - w) for (w, r), (v, s) in combinations(known, 2) if v != w]
        self._same = median(seconds for _, seconds in known) if known else 0.0
        self._each = median(seconds / work for work, seconds in known) if known else None
        self._slope = max(0.0, median(slopes)) if slopes else (self._each or 0.0)
        self._base = median(seconds - self._slope * work for work, seconds in known) if known else 0.0

    def seconds(self, work: float | None) -> float | None:
        """How long a clip of so much work takes; None before the first clip."""
        if not work or self._each is None:
            return self._mean
        bounds = self._same, self._each * work
        return min(max(self._base + self._slope * work, min(bounds)), max(bounds))
