"""What a request brings to be let in: a bearer token, one in the address, cookies, a form."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Scope

FORM_BYTES = 4096


def bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def without_token(query: bytes) -> tuple[str, str | None]:
    """The query without its token, and the token."""
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    token = next((value for name, value in pairs if name == "token"), None)
    return urlencode([(name, value) for name, value in pairs if name != "token"]), token


def cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


async def posted_token(request: Request) -> str:
    """Of the sign-in form; empty for anything else."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return ""
    return next((value.strip() for name, value in parse_qsl(body.decode("latin-1")) if name == "token"), "")


def wants_page(scope: Scope, headers: Headers) -> bool:
    return scope["type"] == "http" and "text/html" in headers.get("accept", "")
