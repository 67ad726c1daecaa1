"""How a copied clip is called at the place where it is kept."""

from __future__ import annotations

import re
import time

from services.queue.job import Job

TEMPLATE = "{date}-{time}-{id}"
FIELDS = ("date", "time", "id", "user", "model")
PREFIX = re.compile(r"[A-Za-z0-9_=-][A-Za-z0-9._=-]*(/[A-Za-z0-9_=-][A-Za-z0-9._=-]*)*/?")
MAX_PREFIX = 200


def name(job: Job, template: str = TEMPLATE) -> str:
    """Below the store's address, without its ending. What a user wrote cannot lead out of it."""
    made_at = time.gmtime(job.created_at)
    named = template.format(
        date=time.strftime("%Y%m%d", made_at),
        time=time.strftime("%H%M%S", made_at),
        id=job.id,
        user=_plain(job.owner) or "nobody",
        model=_plain(job.model),
    )
    prefix = (job.results_prefix or "").strip("/")
    return f"{prefix}/{named}" if prefix else named


def is_prefix(text: str) -> bool:
    """Folders of plain letters and digits, none of which is hidden or leads upwards."""
    return len(text) <= MAX_PREFIX and PREFIX.fullmatch(text) is not None


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_=-]", "_", text)[:64]
