"""The door: who comes in, by a token or key, as Bearer or once as ``?token=`` and then as a session.

Order: what is open to all; workers by their tokens; then people, whose request must also be addressed to
this service, come from one of its own pages, and be within the scopes and the rate of their key.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable, Set

from fastapi.responses import RedirectResponse, Response
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from services.front.door import brought, door_answers, links, routes, sessions
from services.front.door.caller import OWNER, Caller, enter
from services.front.door.content_policy import Page
from services.front.door.door import Door
from services.front.door.login_throttle import LoginThrottle
from services.front.door.rates import Rates
from services.front.door.sessions import Session
from services.keys import key

OPEN_PATHS = frozenset({"/healthz", "/readyz", "/ping"})
WORKER_PATHS = "/internal/"
SIGN_IN, SIGN_OUT = "/sign-in", "/sign-out"
PAGE_KEY = "x-kinokit-key"  # the page's part of a session
WRONG = "This is not the token of this service."
ELSEWHERE = "Sign in on this page: that came from a page at another address."


class Auth:
    """ASGI middleware around the whole app.

    ``sign_in`` makes the page that asks a browser for the token; its argument says why the last try failed.
    ``viewer`` makes the page that shows the answer of a path to somebody who has signed in.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        door: Door,
        sign_in: Callable[[str], str],
        open_paths: Set[str] = OPEN_PATHS,
        viewer: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app = app
        self._door = door
        self._open_paths = open_paths
        self._sign_in_page = sign_in
        self._viewer_page = viewer
        self._throttle = LoginThrottle(clock)
        self._rates = Rates(clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in self._open_paths:
            return await self._app(scope, receive, send)
        if links.opens(scope.get("method", ""), scope["path"]):
            return await self._app(scope, receive, send)
        if scope["path"].startswith(WORKER_PATHS):
            return await self._worker(scope, receive, send)
        if self._door.asks:
            return await self._person(scope, receive, send)
        return await self._anybody(scope, receive, send)

    async def _anybody(self, scope: Scope, receive: Receive, send: Send) -> None:
        """On this machine alone, where a browser may still be led here by others' pages."""
        if not self._door.addresses.knows_host(scope):
            return await _answer(door_answers.unknown_host(), scope, receive, send)
        if self._door.addresses.is_from_elsewhere(scope):
            return await _answer(door_answers.cross_site(), scope, receive, send)
        return await self._admit(OWNER, scope, receive, send)

    async def _worker(self, scope: Scope, receive: Receive, send: Send) -> None:
        box = self._door.box(brought.bearer(Headers(scope=scope)) or "")
        if box is None:
            return await self._refuse(scope, receive, send, guessed=True, browser=False)
        scope.setdefault("state", {})["box"] = box
        return await self._app(scope, receive, send)

    async def _person(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        browser = brought.wants_page(scope, headers)
        if browser and scope["path"].endswith(SIGN_IN):
            return await self._sign_in(scope, receive, send)
        query, asked = brought.without_token(scope["query_string"])
        bearer = brought.bearer(headers)
        for secret in filter(None, (asked, bearer)):
            caller = self._door.caller(secret)
            if caller is not None and secret == asked and browser and scope["method"] == "GET":
                return await self._welcome(secret, scope, scope["path"], query)(scope, receive, send)
            if caller is not None:
                return await self._admit(caller, scope, receive, send)
        session = self._door.sessions.find(brought.cookies(headers))
        caller = self._door.caller_of_session(session.credential) if session else None
        if session is not None and caller is not None:
            return await self._visitor(session, caller, scope, receive, send)
        return await self._refuse(scope, receive, send, guessed=bool(asked or bearer), browser=browser)

    async def _visitor(
        self, session: Session, caller: Caller, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Somebody who has signed in: the cookie alone may be a neighbour's, who was sent it."""
        headers, method = Headers(scope=scope), scope.get("method", "POST")
        if sessions.has_key(session, headers.get(PAGE_KEY, "")):
            if method == "POST" and scope["path"].endswith(SIGN_OUT):
                self._door.sessions.end(brought.cookies(headers))
                return await Response(status_code=204)(scope, receive, send)
            return await self._admit(caller, scope, receive, send)
        if routes.opens_by_cookie(method, scope["path"]):
            return await self._admit(caller, scope, receive, send)
        if self._door.addresses.is_from_elsewhere(scope):
            return await _answer(door_answers.cross_site(), scope, receive, send)
        if method == "GET" and brought.wants_page(scope, headers):
            page = Page(self._viewer_page(scope["path"]), headers=door_answers.NOT_KEPT)
            return await page(scope, receive, send)
        return await _answer(door_answers.no_page_key(), scope, receive, send)

    async def _admit(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        if caller.key_id is not None:
            needed = routes.need(scope.get("method", "POST"), scope["path"])
            if not caller.may(needed):
                return await _answer(door_answers.not_permitted(caller, needed), scope, receive, send)
            wait = self._rates.wait_seconds(caller.key_id, caller.limits.requests_per_minute)
            if wait:
                refusal = door_answers.too_fast(caller, math.ceil(wait))
                return await _answer(refusal, scope, receive, send)
        enter(scope, caller)
        return await self._app(scope, receive, send)

    async def _sign_in(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            return await self._show_sign_in("", 200)(scope, receive, send)
        if self._door.addresses.is_from_elsewhere(scope):
            return await self._show_sign_in(ELSEWHERE, 403)(scope, receive, send)
        given = await brought.posted_token(Request(scope, receive))
        if given and self._door.caller(given) is not None:
            return await self._welcome(given, scope, "/", "")(scope, receive, send)
        return await self._refuse(scope, receive, send, guessed=True, browser=True)

    def _welcome(self, secret: str, scope: Scope, path: str, query: str) -> RedirectResponse:
        """Begins a session and goes to the same page without the token in its address.

        The page's key goes behind the #, which browsers send to nobody; pages/door.js takes it from there.
        """
        made = self._door.sessions.begin(key.hash_of(secret))
        # "//host" would be another host
        place = "/" + path.lstrip("/\\") + (f"?{query}" if query else "")
        response = RedirectResponse(f"{place}#kinokit={made.page_key}", 303, headers=door_answers.NOT_KEPT)
        secure = "https" in (scope["scheme"], Headers(scope=scope).get("x-forwarded-proto"))
        response.set_cookie(
            self._door.sessions.cookie_name(secure=secure),
            made.cookie,
            max_age=sessions.LIFE_SECONDS,
            path="/",
            httponly=True,
            samesite="lax",
            secure=secure,
        )
        return response

    def _show_sign_in(self, wrong: str, status: int) -> Page:
        return Page(self._sign_in_page(wrong), status, headers=door_answers.NOT_KEPT)

    async def _refuse(
        self, scope: Scope, receive: Receive, send: Send, *, guessed: bool, browser: bool
    ) -> None:
        if guessed:
            wait = self._throttle.count((scope.get("client") or ("",))[0])
            if wait is None:
                return await _answer(door_answers.too_many_attempts(), scope, receive, send)
            await asyncio.sleep(wait)
        if browser:
            return await self._show_sign_in(WRONG if guessed else "", 401)(scope, receive, send)
        return await _answer(door_answers.no_token(is_wrong=guessed), scope, receive, send)


def hide_token(line: str) -> str:
    """The text of a log line without the value of ``token=``, or of a link's ``signature=``.

    >>> hide_token("GET /?token=abc&x=1 HTTP/1.1")
    'GET /?token=...&x=1 HTTP/1.1'
    """
    return re.sub(r"(?i)((?:token|signature)(?:=|%3d))[^&\s\"']+", r"\1...", line)


async def _answer(response: Response, scope: Scope, receive: Receive, send: Send) -> None:
    """A refusal; a web socket, which has no place for one, is closed."""
    if scope["type"] == "http":
        return await response(scope, receive, send)
    await receive()
    return await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
