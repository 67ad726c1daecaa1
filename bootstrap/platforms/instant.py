"""An instant as marketplaces write it: seconds, milliseconds, or a text."""

from __future__ import annotations

import contextlib
import re
from datetime import UTC, datetime

MILLISECONDS_FROM = 10**11  # seconds reach this in the year 5138


def read(written: object) -> float | None:
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
