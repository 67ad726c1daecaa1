"""A request that cannot be run as asked."""

from __future__ import annotations

from bootstrap.errors import KitError


class RequestError(KitError):
    """The API answers 400 with ``param`` and ``code``."""

    def __init__(self, problem: str, *, fix: str, param: str | None, code: str = "invalid_value") -> None:
        super().__init__(problem, fix=fix)
        self.param = param
        self.code = code
