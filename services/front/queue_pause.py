"""``POST /v1/queue/pause`` and ``/resume``: no worker begins a clip meanwhile; new jobs wait.

``/drain`` empties this box alone before it ends: it is not ready, takes nothing in, and finishes what runs.
"""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from services.front.context import Shared

router = APIRouter(prefix="/v1/queue", tags=["queue"])


class QueuePause(BaseModel):
    paused: bool = Field(description="Whether workers are given no job.")


@router.post("/pause", summary="Give no job to a worker; what runs goes on, new jobs wait")
async def pause(context: Shared) -> QueuePause:
    await context.ask(lambda queue: queue.pause.begin())
    context.readiness.forget()
    return QueuePause(paused=True)


@router.post("/drain", summary="Empty this box: what runs goes on, nothing is taken in")
async def drain(context: Shared) -> QueuePause:
    context.readiness.is_draining = True
    return QueuePause(paused=True)


@router.post("/resume", summary="Go on after a pause or a drain")
async def resume(context: Shared) -> QueuePause:
    await context.ask(lambda queue: queue.pause.end())
    context.readiness.is_draining = False
    context.readiness.forget()
    context.notifier.notify()
    return QueuePause(paused=False)
