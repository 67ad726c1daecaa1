"""What a job costs: the time of the GPUs that work for it, at the price of the box that they belong to.

Each attempt is counted when it ends, whatever its end, with the price that its worker told: a price that
changes later rewrites nothing.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import case, func

from services.queue.job import Abilities
from services.queue.table import jobs

HOUR_SECONDS = 3600.0


def begun(can: Abilities, now: float) -> dict[str, Any]:
    """For the row of a job that a worker begins."""
    return {"gpus": can.gpus, "hourly_cost": can.hourly_cost, "charged_from": now}


def charged(now: float) -> dict[str, Any]:
    """For the row of a job that its worker leaves; one that no worker has is left as it is."""
    passed = now - jobs.c.charged_from
    # a clock that was set back takes nothing away
    seconds = case((passed > 0, passed), else_=0.0)
    gpu_seconds = func.coalesce(jobs.c.gpu_seconds, 0.0) + seconds * func.coalesce(jobs.c.gpus, 1)
    dollars = func.coalesce(jobs.c.dollars, 0.0) + seconds * jobs.c.hourly_cost / HOUR_SECONDS
    runs = jobs.c.charged_from.is_not(None)
    return {
        "gpu_seconds": case((runs, gpu_seconds), else_=jobs.c.gpu_seconds),
        "dollars": case((runs & jobs.c.hourly_cost.is_not(None), dollars), else_=jobs.c.dollars),
        "charged_from": None,
    }
