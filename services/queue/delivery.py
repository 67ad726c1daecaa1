"""One message of a webhook, as it is written and as it is read back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

End = Literal["delivered", "failed"]


@dataclass(frozen=True)
class NewDelivery:
    id: str  # the same at each try
    event: str
    url: str
    host: str
    body: str


@dataclass(frozen=True)
class Delivery:
    """``attempts``: before the one that begins now. ``age_seconds``: since it was written."""

    number: int
    id: str
    job_id: str
    url: str
    host: str
    body: str
    attempts: int
    age_seconds: float
