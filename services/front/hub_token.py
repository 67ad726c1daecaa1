"""The token of a gated model, from the boot page to the agent; nobody can read it here again."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response

from bootstrap import data_directory, files
from bootstrap.errors import KitError
from services.front import described
from services.front.context import Shared
from services.front.errors import answer

router = APIRouter(tags=["boot"])

LONGEST_BYTES = 4096
BODY = {
    "type": "object",
    "required": ["token"],
    "properties": {"token": {"type": "string", "minLength": 1, "maxLength": 1000}},
}


@router.post(
    "/hub-token",
    summary="Give the token that the boot waits for",
    status_code=204,
    responses=described.errors(400, 409),
    openapi_extra={"requestBody": {"required": True, "content": {"application/json": {"schema": BODY}}}},
)
async def hub_token(request: Request, context: Shared) -> Response:
    """``{"token": "…"}``; 409 while nothing asks for one."""
    if not context.boot.document().get("asks"):
        return answer(409, "nothing asks for a token now", code="not_asked", fix="look at the boot page")
    token = await _posted(request)
    if not token:
        return answer(400, "there is no token in it", code="no_token", fix='send {"token": "hf_…"}')
    path = context.settings.data_dir / data_directory.TYPED_BY_VISITOR
    try:
        files.replace_text(path, token, mode=0o600)
    except OSError as error:
        raise KitError(
            f"the token could not be handed over: {error.strerror}",
            fix="free some disk space, then try again",
        ) from None
    return Response(status_code=204)


async def _posted(request: Request) -> str:
    """Empty for anything that is not a short text."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BYTES:
            return ""
    try:
        token = json.loads(body)["token"]
    except (ValueError, TypeError, LookupError):
        return ""
    return token.strip() if isinstance(token, str) else ""
