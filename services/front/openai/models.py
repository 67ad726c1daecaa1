"""What runs here and what it may be asked: enough to build a form from."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from bootstrap.choose.plan import Plan
from services.front import refusals
from services.front.context import Context, Shared
from services.parameters import families

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The models that run here")
async def list_models(context: Shared) -> dict[str, Any]:
    await context.fleet.refresh()
    return {"object": "list", "data": [_model(plan, context) for plan in context.fleet.plans().values()]}


@router.get("/{model}", summary="One of them")
async def retrieve_model(model: str, context: Shared) -> dict[str, Any]:
    await context.fleet.refresh()
    plan = context.fleet.plans().get(model)
    if plan is None:
        raise refusals.other_model(model, fix="GET /v1/models says which do")
    return _model(plan, context)


def _model(plan: Plan, context: Context) -> dict[str, Any]:
    return {
        "id": plan.model,
        "object": "model",
        "created": context.boot.planned_at(),
        "owned_by": "kinokit",
        "title": plan.title,
        "family": plan.family.name,
        "inputs": list(plan.inputs),
        "image_optional": "image" in plan.optional_inputs,
        "profile": plan.profile,
        "defaults": plan.defaults,
        "limits": plan.limits.model_dump(mode="json"),
        "parameters": families.schemas(plan.family),
        "presets": [preset.model_dump(mode="json") for preset in plan.family.presets],
    }
