"""``/v1/keys``: named keys for other people and programs; ``/v1/usage``: what each has used."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field

from bootstrap.errors import KitError
from services.front import described
from services.front.context import Shared
from services.front.door import caller
from services.front.errors import ApiError
from services.keys import key
from services.keys.key import Key, NewKey

router = APIRouter(prefix="/v1", tags=["keys"])


class ShownKey(key.Limits):
    """A key as it is listed: never its secret, nor the hash of it."""

    id: str
    name: str
    scopes: tuple[key.Scope, ...]
    created_at: float
    expires_at: float | None
    revoked_at: float | None
    last_used_at: float | None


class MadeKey(ShownKey):
    key: str = Field(description="The secret: it is shown now and never again.")


class KeyList(BaseModel):
    data: list[ShownKey]


class KeyUsage(BaseModel):
    key_id: str | None = Field(description="null: the owner, who needs no named key.")
    name: str
    clips: int
    gpu_seconds: float


class UsageList(BaseModel):
    days: int
    data: list[KeyUsage]


@router.get("/keys", summary="List the named keys")
async def list_keys(context: Shared) -> KeyList:
    return KeyList(data=[_shown(each) for each in await run_in_threadpool(context.keys.keys)])


@router.post("/keys", summary="Make a named key", responses=described.errors(409))
async def make_key(wanted: NewKey, context: Shared) -> MadeKey:
    try:
        made, secret = await run_in_threadpool(context.keys.add, wanted)
    except KitError as taken:
        raise ApiError(409, taken.problem, code="name_taken", param="name", fix=taken.fix) from None
    return MadeKey(**_shown(made).model_dump(), key=secret)


@router.delete("/keys/{key_id}", summary="Revoke a key, by its id or name", responses=described.errors(404))
async def revoke_key(key_id: str, context: Shared) -> ShownKey:
    try:
        return _shown(await run_in_threadpool(context.keys.revoke, key_id))
    except KitError as unknown:
        raise ApiError(404, unknown.problem, code="not_found", param="key_id", fix=unknown.fix) from None


@router.get("/usage", summary="What each key has used; a key sees itself")
async def usage(
    request: Request,
    context: Shared,
    days: Annotated[int, Query(ge=1, le=366, description="Of UTC, today included.")] = 1,
) -> UsageList:
    by: caller.Caller = request.state.caller
    names = {each.id: each.name for each in await run_in_threadpool(context.keys.keys)}
    used = await context.ask(lambda queue: queue.usage.read(days=days))
    data = [
        KeyUsage(
            key_id=each.key_id,
            name="owner" if each.key_id is None else names.get(each.key_id, each.key_id),
            clips=each.clips,
            gpu_seconds=round(each.gpu_seconds, 3),
        )
        for each in used
        if by.may("admin") or each.key_id == by.key_id
    ]
    return UsageList(days=days, data=data)


def _shown(found: Key) -> ShownKey:
    return ShownKey(**found.model_dump(exclude={"hash"}))
