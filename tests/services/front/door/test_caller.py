"""Everybody behind the door knows who asks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fastapi import APIRouter, Request

from services.front.door import caller
from services.front.settings import Settings
from tests.services.front.running import running

router = APIRouter()


@router.get("/who")
async def who(request: Request) -> dict[str, object]:
    asks: caller.Caller = request.state.caller
    return {"name": asks.name, "key_id": asks.key_id, "same": asks is caller.current()}


def test_the_owner_is_named_with_a_token_and_without_auth(tmp_path: Path) -> None:
    for auth in (True, False):
        with running(replace(Settings(tmp_path), auth=auth), router) as front:
            assert front.people.get("/who").json() == {"name": "owner", "key_id": None, "same": True}


def test_a_scope_meets_what_it_covers_and_no_more() -> None:
    def met(*scopes: str) -> list[str]:
        asks = caller.Caller(scopes=frozenset(scopes))
        return [need for need in caller.MEETS if asks.may(need)]

    assert met("read") == ["read"]
    assert met("make") == ["read", "make"]
    assert met("admin") == ["read", "make", "admin"]
    assert met() == []
