"""What runs here and what it may be asked: enough to build a form from."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from bootstrap.choose.plan import Plan
from services import parameters
from services.front.context import Context, Shared
from services.front.errors import ApiError
from services.parameters.presets import PRESETS

router = APIRouter(prefix="/v1/models", tags=["models"])


@router.get("", summary="The model that runs here")
async def list_models(context: Shared) -> dict[str, Any]:
    plan = context.boot.plan()
    return {"object": "list", "data": [_model(plan, context)] if plan else []}


@router.get("/{model}", summary="The model, if it is the one")
async def retrieve_model(model: str, context: Shared) -> dict[str, Any]:
    plan = context.boot.plan()
    if plan is None or plan.model != model:
        raise ApiError(
            404, f"the model {model!r} does not run here", code="model_not_found", param="model",
            fix="GET /v1/models says which does",
        )  # fmt: skip
    return _model(plan, context)


def _model(plan: Plan, context: Context) -> dict[str, Any]:
    table = parameters.Parameters.model_json_schema()["properties"]
    return {
        "id": plan.model,
        "object": "model",
        "created": context.boot.planned_at(),
        "owned_by": "kinokit",
        "title": plan.title,
        "family": plan.family,
        "inputs": list(plan.inputs),
        "image_optional": plan.recipe.get("image") == "optional",
        "profile": plan.profile,
        "defaults": plan.defaults,
        "limits": plan.limits.model_dump(mode="json"),
        "parameters": {name: field for name, field in table.items() if plan.family in field["families"]},
        "presets": [
            {"name": preset.name, "meaning": preset.meaning, "values": preset.values}
            for preset in PRESETS.values()
        ]
        if plan.family == "svd"
        else [],
    }
