"""What the door answers to those whom it does not let in. Made for each request: they carry its id."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from services.front.door.caller import Caller, Need
from services.front.errors import answer

# A referrer to other origins would tell where this is; to itself the browser must say where a form came from.
NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "same-origin"}
SIGN_IN_AGAIN = {"X-Kinokit-Sign-In": "1", "Cache-Control": "no-store"}  # pages/door.js goes there


def cross_site() -> JSONResponse:
    return answer(
        403,
        "a page of another site asked for this",
        code="cross_site",
        fix="ask from the studio, or from a program; the name of a proxy of yours goes into allowed_hosts",
    )


def unknown_host() -> JSONResponse:
    return answer(
        403,
        "this service asks for no token, so it answers by this machine's own names alone",
        code="unknown_host",
        fix="open it as localhost; other names of yours go into allowed_hosts (KINOKIT_ALLOWED_HOSTS)",
    )


def no_token(*, is_wrong: bool) -> JSONResponse:
    return answer(
        401,
        "this token is not right" if is_wrong else "a token is needed",
        code="invalid_token",
        fix="send `Authorization: Bearer TOKEN`; the start printed it, the data directory has it",
        headers={"WWW-Authenticate": "Bearer", **SIGN_IN_AGAIN},
    )


def no_page_key() -> JSONResponse:
    return answer(
        401,
        "the cookie is not enough: this browser's page has lost the other half of its session",
        code="sign_in_again",
        fix="sign in again; programs send `Authorization: Bearer TOKEN`",
        headers=SIGN_IN_AGAIN,
    )


def too_many_attempts() -> JSONResponse:
    return answer(
        429,
        "too many wrong tokens",
        code="too_many_attempts",
        fix="wait a minute, then use the right one, which is never refused",
        headers={"Retry-After": "60"},
    )


def not_permitted(caller: Caller, needed: Need) -> JSONResponse:
    return answer(
        403,
        f"the key {caller.name!r} may not do this: it has {', '.join(sorted(caller.scopes))}, not {needed}",
        code="not_permitted",
        fix="use another key, or ask the owner for one with this scope",
    )


def too_fast(caller: Caller, seconds: int) -> JSONResponse:
    return answer(
        429,
        f"the key {caller.name!r} may send {caller.limits.requests_per_minute:g} requests a minute",
        code="rate_limited",
        fix=f"try again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )
