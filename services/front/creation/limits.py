"""How long one job may take and wait: fields of a request beside the parameter table, for every door."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.parameters import RequestError

DAY_SECONDS = 24 * 3600
MOST_SECONDS = {"timeout_seconds": 7 * DAY_SECONDS, "ttl_seconds": 30 * DAY_SECONDS}
FIELDS = tuple(MOST_SECONDS)
SCHEMAS: dict[str, dict[str, Any]] = {
    "timeout_seconds": {"description": "When making it takes longer it fails with the code timed_out."},
    "ttl_seconds": {"description": "When it waits longer for its turn it fails with the code expired."},
}
for name, schema in SCHEMAS.items():
    schema |= {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_SECONDS[name]}


@dataclass(frozen=True)
class Limits:
    timeout_seconds: float | None = None  # that one attempt at it may take; None: as this box is set
    ttl_seconds: float | None = None  # that it may wait for its first attempt; None: for ever


NONE = Limits()


def read(given: Mapping[str, Any]) -> Limits:
    """From the fields of a body. Raises ``RequestError``."""
    return Limits(**{name: _seconds(given, name) for name in FIELDS})


def _seconds(given: Mapping[str, Any], name: str) -> float | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if not 0 < seconds <= MOST_SECONDS[name]:
        raise RequestError(
            f"{name} is no number of seconds above 0, and {MOST_SECONDS[name]} at most",
            fix="leave it out, or give a number such as 600",
            param=name,
        )
    return seconds
