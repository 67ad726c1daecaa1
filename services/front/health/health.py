"""How it stands. The first three answer anybody, so they hold no paths, names or tokens."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from services.front.context import Context, Shared
from services.front.health import boot_state

router = APIRouter(tags=["health"])

RETRY_SECONDS = 5
_STATE = {"application/json": {"example": {"state": "loading", "phase": "load", "progress": 0.4}}}
NOT_READY: dict[int | str, dict[str, Any]] = {
    200: {"content": _STATE},
    503: {"description": "Not yet; `download` says how the weights come.", "content": _STATE},
}
PINGED: dict[int | str, dict[str, Any]] = {
    200: {"description": "Ready."},
    204: {"description": "On its way."},
    500: {"description": "It failed.", "content": {}},
}


@router.get("/healthz", summary="The front runs")
@router.head("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz", summary="A job would be accepted and run", responses=NOT_READY)
@router.head("/readyz", include_in_schema=False)
async def readyz(context: Shared) -> JSONResponse:
    await context.fleet.refresh()
    document = context.boot.document()
    phase, progress = boot_state.progress(document)
    body = {"state": document["state"], "phase": phase, "progress": progress}
    obstacle = await context.readiness.obstacle() if document["state"] in ("ready", "stopping") else None
    if obstacle is not None:
        body |= {"state": obstacle.state, "reason": obstacle.reason}
    elif document["state"] == "loading":
        body["reason"] = "no_worker"
    if document.get("link"):
        body["download"] = {**document["link"], "is_slow": boot_state.has_finding(document, "slow_link")}
    if body["state"] == "ready":
        return JSONResponse(body)
    return JSONResponse(body, 503, headers={"Retry-After": str(RETRY_SECONDS)})


@router.get(
    "/ping",
    summary="For load balancers: 204, then 200, 500 when failed",
    response_class=Response,
    responses=PINGED,
)
@router.head("/ping", include_in_schema=False)
async def ping(context: Shared) -> Response:
    await context.fleet.refresh()
    state = context.boot.state()
    if state == "ready" and await context.readiness.obstacle() is not None:
        state = "paused"
    return Response(status_code={"ready": 200, "failed": 500}.get(state, 204))


@router.get("/status", summary="Everything")
@router.head("/status", include_in_schema=False)
async def status(context: Shared) -> dict[str, Any]:
    await context.fleet.refresh()
    plan = context.boot.plan()
    counts = await context.counts.read(plan.model if plan else None)  # first: the state follows from it
    obstacle = await context.readiness.obstacle()
    return {
        "boot": context.boot.document(),
        "studio": context.studio,
        "results": context.outbox.public() if context.outbox else None,
        "retention": context.retention.public(),
        "webhooks": context.webhooks.public(),
        "private_hosts": context.settings.private_hosts,
        "remote_images": context.settings.remote_images,
        "unused_seconds": _unused_seconds(context),
        "workers": [report.public() for report in context.workers.all()],
        "queue": counts,
        "limits": {
            "stall_seconds": context.settings.stall_seconds,
            "job_timeout_seconds": context.settings.job_timeout_seconds,
        },
        "min_free_disk_mib": context.settings.min_free_disk_mib,
        "paused": obstacle.public() if obstacle else None,
        "cost": None if counts is None else await context.spending.read(context.boot.document()),
        "plan": {**plan.model_dump(mode="json"), "family": plan.family.name} if plan else None,
    }


def _unused_seconds(context: Context) -> float:
    """A clip that is being copied out of the box is use, too."""
    unused = context.presence.unused_seconds()
    return min(unused, 0.0) if context.outbox is not None and context.outbox.is_busy else unused
