"""How requests reach this box, as the agent wrote it into the boot document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

# A client whose answer is cut never learns the clip's id; the front answers with it so much earlier.
MARGIN_SECONDS = 10.0
LONGEST_ANSWER_SECONDS = 600.0  # where nothing cuts: clients give up, too


@dataclass(frozen=True)
class Access:
    """``None``: no proxy is known to cut requests, or there is no way around it."""

    proxy_timeout_seconds: float | None = None
    direct_port: int | None = None
    address_domains: Sequence[str] = ()

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> Access:
        """Of a boot document; empty before the agent has written it."""
        return cls(**document.get("access", {}))

    def answer_seconds(self, request: Request) -> float:
        """How long an answer to this request may take."""
        if self.proxy_timeout_seconds is None:
            return LONGEST_ANSWER_SECONDS
        if self.direct_port is not None and request.url.port == self.direct_port:
            return LONGEST_ANSWER_SECONDS
        return min(LONGEST_ANSWER_SECONDS, self.proxy_timeout_seconds - MARGIN_SECONDS)
