"""What runs here and what it may be asked: enough to build a form from."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter
from pydantic import BaseModel

from bootstrap.choose.plan import Plan
from services.front import described, refusals
from services.front.context import Context, Shared
from services.parameters import families

router = APIRouter(prefix="/v1/models", tags=["models"])


class Preset(BaseModel):
    """A named set of values."""

    name: str
    meaning: str
    values: dict[str, Any]


class Model(BaseModel):
    """The first block is OpenAI's."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: Literal["kinokit"] = "kinokit"

    title: str
    family: str
    inputs: list[str]  # "text", "image"
    image_optional: bool
    profile: str | None
    defaults: dict[str, Any]
    limits: dict[str, Any]
    parameters: dict[str, dict[str, Any]]  # each one's JSON schema
    presets: list[Preset]


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


@router.get("", summary="The models that run here")
@router.head("", include_in_schema=False)
async def list_models(context: Shared) -> ModelList:
    await context.fleet.refresh()
    return ModelList(data=[_model(plan, context) for plan in context.fleet.plans().values()])


@router.get("/{model}", summary="One of them", responses=described.errors(404))
@router.head("/{model}", include_in_schema=False)
async def retrieve_model(model: str, context: Shared) -> Model:
    await context.fleet.refresh()
    plan = context.fleet.plans().get(model)
    if plan is None:
        raise refusals.other_model(model, fix="GET /v1/models says which do")
    return _model(plan, context)


def _model(plan: Plan, context: Context) -> Model:
    return Model(
        id=plan.model,
        created=context.boot.planned_at(),
        title=plan.title,
        family=plan.family.name,
        inputs=list(plan.inputs),
        image_optional="image" in plan.optional_inputs,
        profile=plan.profile,
        defaults=plan.defaults,
        limits=plan.limits.model_dump(mode="json"),
        parameters=families.schemas(plan.family),
        presets=[Preset(**preset.model_dump(mode="json")) for preset in plan.family.presets],
    )
