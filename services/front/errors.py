"""Turns every error into one JSON object: message, type, param, code, fix and the request's id."""

from __future__ import annotations

import errno
import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bootstrap.errors import KitError
from services.front.metrics import account
from services.front.port import request_ids
from services.parameters import RequestError
from services.queue.job import DatabaseDown

log = logging.getLogger("kinokit.front")

TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ApiError(Exception):
    """An answer that is not 200."""

    def __init__(
        self,
        status: int,
        problem: str,
        *,
        code: str,
        fix: str,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        items: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(problem)
        self.status = status
        self.problem = problem
        self.code = code
        self.fix = fix
        self.param = param
        self.headers = headers
        self.items = items  # what is wrong with each part of a request of many


def answer(
    status: int,
    problem: str,
    *,
    code: str,
    fix: str,
    param: str | None = None,
    headers: Mapping[str, str] | None = None,
    items: Sequence[Mapping[str, Any]] = (),
) -> JSONResponse:
    kind = TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    name = request_ids.current()
    account.note_refusal(code)
    error: dict[str, Any] = {"message": problem, "type": kind, "param": param, "code": code, "fix": fix}
    error["request_id"] = name
    if items:
        error["errors"] = list(items)
    named = {request_ids.HEADER: name} if name else {}
    return JSONResponse({"error": error}, status_code=status, headers={**(headers or {}), **named})


def install(app: FastAPI) -> None:
    app.add_exception_handler(ApiError, _api_error)
    app.add_exception_handler(KitError, _kit_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(OSError, _system)
    app.add_exception_handler(DatabaseDown, _away)
    app.add_exception_handler(Exception, _bug)


class AnswerBugs:
    """ASGI middleware: an error that nobody expected is one answer, and the connection lives on.

    Starlette's own handler of such errors raises again, upon which the server cuts the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def watched(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            if has_begun or scope["type"] != "http":
                raise
            respond = _system if isinstance(error, OSError) else _bug
            await (await respond(Request(scope), error))(scope, receive, send)


async def _api_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ApiError)
    return answer(
        error.status,
        error.problem,
        code=error.code,
        fix=error.fix,
        param=error.param,
        headers=error.headers,
        items=error.items,
    )


async def _kit_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, KitError)
    if isinstance(error, RequestError):
        return answer(400, error.problem, code=error.code, fix=error.fix, param=error.param)
    return answer(500, error.problem, code="failed", fix=error.fix)


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    """A path, query or body field that does not parse; the first one is reported."""
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = dict(error.errors()[0])
    place = ".".join(str(part) for part in first["loc"][1:]) or None
    problem = f"{place}: {first['msg']}" if place else str(first["msg"])
    return answer(400, problem, code="invalid_value", param=place, fix="correct this value")


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        return answer(
            404,
            f"there is nothing at {request.url.path}",
            code="unknown_route",
            fix="the API is below /v1/videos; GET /openapi.json lists it",
        )
    if error.status_code == 405:
        allowed = _allowed(request) or (error.headers or {}).get("Allow", "see /openapi.json")
        return answer(
            405,
            f"{request.method} is not offered at {request.url.path}",
            code="method_not_allowed",
            fix=f"allowed: {allowed}",
            headers={"Allow": allowed},
        )
    return answer(
        error.status_code,
        str(error.detail),
        code="bad_request",
        fix="correct the request",
        headers=error.headers,
    )


def _allowed(request: Request) -> str:
    """All methods of a path. The error names those of the first route alone, and a path has several."""
    paths: dict[str, dict[str, Any]] = request.app.openapi()["paths"]
    at = request.url.path
    named = [at] if at in paths else [path for path in paths if _matches(path, at)]
    found = {method.upper() for path in named for method in paths[path]}
    return ", ".join(sorted(found))


def _matches(path: str, at: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), at) is not None


async def _gone(_: Request, error: Exception) -> JSONResponse:
    """The client left while it sent the body: this answer is for the log."""
    return answer(400, "the body broke off", code="body_incomplete", fix="send it again")


async def _system(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return await _bug(request, error)
    log.error("the disk is full: %s %s", request.method, request.url.path)
    return answer(
        507, "the disk is full", code="disk_full", fix="delete videos you do not need, then try again"
    )


async def _away(request: Request, error: Exception) -> JSONResponse:
    log.error("the database does not answer: %s %s", request.method, request.url.path)
    return answer(
        503,
        "the queue's database does not answer",
        code="database_away",
        fix="try again in a while",
        headers={"Retry-After": "5"},
    )


async def _bug(request: Request, error: Exception) -> JSONResponse:
    bug = f"bug_{secrets.token_hex(6)}"
    log.error("%s: %s %s %s", bug, request.method, request.url.path, request_ids.current(), exc_info=error)
    return answer(
        500, f"something broke in the kit ({bug})", code="internal", fix=f"look for {bug} in front.log"
    )
