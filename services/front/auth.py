"""Asks for the token: as Bearer, or once as ``?token=`` and then as a cookie. Workers have their own."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl, urlencode

from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.front.caller import OWNER, Caller, enter
from services.front.errors import answer
from services.front.login_throttle import LoginThrottle
from services.front.tokens import TokenFile

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/ping"})
WORKER_PATHS = "/internal/"
SIGN_IN = "/sign-in"
FORM_BYTES = 4096
COOKIE_SECONDS = 30 * 24 * 3600
WRONG = "This is not the token of this service."


class Auth:
    """ASGI middleware around the whole app. ``people`` is None when only this machine reaches the port.

    ``sign_in`` makes the page that asks a browser for the token; its argument says why the last try failed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        people: TokenFile | None,
        workers: TokenFile,
        sign_in: Callable[[str], str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._people = people
        self._workers = workers
        self._sign_in_page = sign_in
        self._throttle = LoginThrottle(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in OPEN_PATHS:
            return await self._app(scope, receive, send)
        if scope["path"].startswith(WORKER_PATHS):
            return await self._worker(scope, receive, send)
        if _from_another_site(scope):
            return await _answer(_forbidden(), scope, receive, send)
        if self._people is None:
            return await self._enter(OWNER, scope, receive, send)
        return await self._person(self._people, scope, receive, send)

    async def _enter(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        enter(scope, caller)
        return await self._app(scope, receive, send)

    async def _worker(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._workers.knows(_bearer(Headers(scope=scope)) or ""):
            return await self._app(scope, receive, send)
        return await self._refuse(scope, receive, send, guessed=True, browser=False)

    async def _person(self, people: TokenFile, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        browser = _wants_page(scope, headers)
        if browser and scope["method"] == "POST" and scope["path"].endswith(SIGN_IN):
            return await self._sign_in(people, scope, receive, send)
        query, asked = _without_token(scope["query_string"])
        if asked is not None and people.knows(asked):
            if browser and scope["method"] == "GET":
                return await _welcome(people, scope, query)(scope, receive, send)
            return await self._enter(OWNER, scope, receive, send)
        bearer = _bearer(headers)
        if bearer is not None and people.knows(bearer):
            return await self._enter(OWNER, scope, receive, send)
        if people.knows_cookie(_cookies(headers)):
            return await self._enter(OWNER, scope, receive, send)
        return await self._refuse(scope, receive, send, guessed=bool(asked or bearer), browser=browser)

    async def _sign_in(self, people: TokenFile, scope: Scope, receive: Receive, send: Send) -> None:
        given = await _posted_token(Request(scope, receive))
        if people.knows(given):
            return await _welcome(people, {**scope, "path": "/"}, "")(scope, receive, send)
        return await self._refuse(scope, receive, send, guessed=True, browser=True)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, *, guessed: bool, browser: bool
    ) -> None:
        if guessed:
            wait = self._throttle.count((scope.get("client") or ("",))[0])
            if wait is None:
                refusal = answer(
                    429,
                    "too many wrong tokens",
                    code="too_many_attempts",
                    fix="wait a minute, then use the right one",
                    headers={"Retry-After": "60"},
                )
                return await _answer(refusal, scope, receive, send)
            await asyncio.sleep(wait)
        if browser:
            page = self._sign_in_page(WRONG if guessed else "")
            return await HTMLResponse(page, 401, headers=_NOT_KEPT)(scope, receive, send)
        refusal = answer(
            401,
            "this token is not right" if guessed else "a token is needed",
            code="invalid_token",
            fix="send `Authorization: Bearer TOKEN`; the start printed it, the data directory has it",
            headers={"WWW-Authenticate": "Bearer", "Cache-Control": "no-store"},
        )
        return await _answer(refusal, scope, receive, send)


def hide_token(line: str) -> str:
    """The text of a log line without the value of ``token=``.

    >>> hide_token("GET /?token=abc&x=1 HTTP/1.1")
    'GET /?token=...&x=1 HTTP/1.1'
    """
    return re.sub(r"(?i)(token(?:=|%3d))[^&\s\"']+", r"\1...", line)


_NOT_KEPT = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}


def _forbidden() -> Response:
    return answer(
        403,
        "a page of another site asked for this",
        code="cross_site",
        fix="ask from the studio, or from a program",
    )


def _welcome(people: TokenFile, scope: Scope, query: str) -> RedirectResponse:
    """Sets the cookie and goes to the same page without the token in its address."""
    # "//host" would be another host
    path = "/" + scope["path"].lstrip("/\\")
    response = RedirectResponse(path + (f"?{query}" if query else ""), 303, headers=_NOT_KEPT)
    name, value = people.cookie()
    secure = "https" in (scope["scheme"], Headers(scope=scope).get("x-forwarded-proto"))
    response.set_cookie(
        name, value, max_age=COOKIE_SECONDS, path="/", httponly=True, samesite="lax", secure=secure
    )
    return response


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """A refusal; a web socket, which has no place for one, is closed."""
    if scope["type"] == "http":
        return await response(scope, receive, send)
    await receive()
    return await send({"type": "websocket.close", "code": 1008, "reason": "refused"})


def _from_another_site(scope: Scope) -> bool:
    """Whether a page of another site makes its visitor's browser change something.

    On loopback no token stops that. "same-site" is another site, too: the same host at another
    port, where a rented box has its neighbours.
    """
    if scope["type"] == "http" and scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return False
    headers = Headers(scope=scope)
    return headers.get("sec-fetch-site") in ("cross-site", "same-site") and "authorization" not in headers


async def _posted_token(request: Request) -> str:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return ""
    return next((value.strip() for name, value in parse_qsl(body.decode("latin-1")) if name == "token"), "")


def _wants_page(scope: Scope, headers: Headers) -> bool:
    return scope["type"] == "http" and "text/html" in headers.get("accept", "")


def _bearer(headers: Headers) -> str | None:
    scheme, _, value = headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else None


def _cookies(headers: Headers) -> dict[str, str]:
    try:
        return {name: morsel.value for name, morsel in SimpleCookie(headers.get("cookie", "")).items()}
    except CookieError:
        return {}


def _without_token(query: bytes) -> tuple[str, str | None]:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    token = next((value for name, value in pairs if name == "token"), None)
    return urlencode([(name, value) for name, value in pairs if name != "token"]), token
