"""Each box's workers have names of their own, and touch no job of another box."""

from __future__ import annotations

from fastapi import Request

from services.front.context import Shared
from services.front.door.door import Box
from services.front.errors import ApiError
from services.keys.key import BOX_MARK


def check(request: Request, worker: str) -> None:
    """Raises ``ApiError`` 403 when the worker's name is not one of the box whose token it has."""
    box: Box = request.state.box
    if not box.owns(worker):
        raise ApiError(
            403,
            f"worker {worker!r} is not of the box {box.name or 'that runs this front'}",
            code="other_box",
            fix=f"begin its name with the box's and {BOX_MARK!r}: a box's token is for its own workers",
        )


async def holds_job(request: Request, context: Shared) -> None:
    """Raises ``ApiError`` 403 when the job of this path is made by a worker of another box."""
    box: Box = request.state.box
    job_id = request.path_params.get("job_id")
    if job_id is None or (box.name is None and not box.others):
        return
    job = await context.ask(lambda queue: queue.get(job_id))
    if job is not None and job.worker is not None:
        check(request, job.worker)
