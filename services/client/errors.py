"""What may go wrong: one exception for each kind, with the service's own code and advice."""

from __future__ import annotations

from typing import Any

import httpx


class KinokitError(Exception):
    """``code`` is for programs, ``fix`` says what to do next; ``status`` is None where nobody answered."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        fix: str,
        param: str | None = None,
        status: int | None = None,
        request_id: str | None = None,
        errors: list[dict[str, Any]] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.fix = fix
        self.param = param
        self.status = status
        self.request_id = request_id
        self.errors = errors or []  # of a batch: what is wrong with each request

    def __str__(self) -> str:
        return f"{self.message} ({self.code}); {self.fix}"


class Refused(KinokitError):
    """The request cannot be carried out as it was asked."""


class WrongToken(KinokitError):
    """No token, a wrong one, or one that may not do this."""


class NotFound(KinokitError):
    """There is no such thing, or no longer."""


class Conflict(KinokitError):
    """It does not fit the state that things are in."""


class QueueFull(KinokitError):
    """As many videos wait as may, or there were too many requests."""


class NotReady(KinokitError):
    """The model is not there yet, or the service cannot make clips now."""


class Unreachable(KinokitError):
    """Nobody answers at this address."""


class VideoFailed(KinokitError):
    """The video ended without a clip; ``code`` is its own error's."""


KINDS: dict[int, type[KinokitError]] = {
    401: WrongToken, 403: WrongToken, 404: NotFound, 409: Conflict, 410: NotFound, 429: QueueFull,
    503: NotReady,
}  # fmt: skip


def of(answer: httpx.Response) -> KinokitError:
    """The error that this answer tells; its body must have been read."""
    try:
        told = answer.json()["error"]
    except (ValueError, LookupError, TypeError):
        told = {}
    told = told if isinstance(told, dict) else {}
    kind = KINDS.get(answer.status_code, Refused if answer.status_code < 500 else KinokitError)
    return kind(
        str(told.get("message") or f"the service answered with HTTP {answer.status_code}"),
        code=str(told.get("code") or "unknown"),
        fix=str(told.get("fix") or "look at the service's log"),
        param=told.get("param"),
        status=answer.status_code,
        request_id=answer.headers.get("x-request-id"),
        errors=told.get("errors"),
    )


def unreachable(error: httpx.TransportError, address: str) -> Unreachable:
    why = str(error) or type(error).__name__
    return Unreachable(
        f"nobody answers at {address}: {why}", code="unreachable", fix="is the address right, and the box up?"
    )
