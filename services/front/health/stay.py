"""``POST /stay``: put the idle stop off."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from services.front.context import Shared

LONGEST_MINUTES = 24 * 60

router = APIRouter(tags=["health"])


class Stay(BaseModel):
    model_config = ConfigDict(extra="forbid")

    minutes: Annotated[
        float, Field(gt=0, le=LONGEST_MINUTES, description="How long the box counts as used from now on.")
    ] = 60


@router.post("/stay", summary="Put the idle stop off", status_code=204)
async def stay(context: Shared, wanted: Stay | None = None) -> None:
    context.presence.use(minutes=(wanted or Stay()).minutes)
