"""Values of an answer, whatever stands in their place: a field may be absent, null, or a text."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MILLISECONDS_FROM = 10**11  # seconds reach this in the year 5138


def number(value: object) -> float | None:
    """None for what is no number; 12.0 for "12"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    with contextlib.suppress(ValueError):
        return float(value)
    return None


def part(value: object, name: str) -> Mapping[str, Any]:
    """The object at a name of an object; an empty one when there is none."""
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def instant(written: object) -> float | None:
    """Seconds since the epoch; None for what cannot be read. A text without a zone is UTC."""
    if isinstance(written, int | float):
        return written / 1000 if written >= MILLISECONDS_FROM else float(written)
    if not isinstance(written, str):
        return None
    # RunPod: "2024-07-12T19:14:40.144Z", and "2024-07-12 19:14:40.144 +0000 UTC".
    text = re.sub(r"\s*(UTC|Z)$", "", written.strip())
    text = re.sub(r"(\.\d{1,6})\d*", r"\1", text)
    text = re.sub(r"\s+([+-]\d{2}):?(\d{2})$", r"\1:\2", text)
    with contextlib.suppress(ValueError):
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    return None
