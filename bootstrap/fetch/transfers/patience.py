"""How long a fetch waits for what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Patience:
    """All in seconds but ``strikes``."""

    without_progress: float = 120.0
    to_begin: float = 45.0  # nothing at all has arrived yet: more likely a mistake than a hiccup
    stalled: float = 10.0
    strikes: int = 5  # nonsense answers in a row, before a mirror is dropped
