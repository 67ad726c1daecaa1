"""What the front says about itself and the workers, asked over its own port."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANSWER_SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the own port is behind no proxy


@dataclass(frozen=True)
class Status:
    """The part of ``/status`` that the agent acts on.

    ``failure`` is a problem and its fix; ``queue`` its counts, None while the front does not know them.
    """

    state: str
    load: Mapping[str, Any]  # of the phase ``load``: detail and progress, as far as they are known
    failure: Mapping[str, Any] | None
    workers: list[dict[str, Any]]
    queue: Mapping[str, Any] | None
    unused_seconds: float  # since somebody asked for something; negative: the box shall stay so long

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Status:
        boot = found["boot"]
        load: Mapping[str, Any] = next((each for each in boot["phases"] if each["name"] == "load"), {})
        known = {key: load[key] for key in ("detail", "progress") if load.get(key) is not None}
        return cls(
            boot["state"], known, boot["failure"], found["workers"], found["queue"], found["unused_seconds"]
        )


class FrontClient:
    """``token`` is None where the front asks for none."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token

    async def answers(self) -> None:
        """Wait until the front answers."""
        while await asyncio.to_thread(self._get, "/healthz") is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)

    async def status(self) -> Status | None:
        """None when the front does not answer."""
        found = await asyncio.to_thread(self._get, "/status")
        return None if found is None else Status.of(found)

    def _get(self, path: str) -> dict[str, Any] | None:
        return get(self._url, path, self._token)


def get(url: str, path: str, token: str | None = None) -> dict[str, Any] | None:
    """One JSON answer of this machine's own front; None when there is none."""
    # Nobody uses a box because its own processes look at it.
    headers = {"X-Kinokit-Unattended": "1"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(url + path, headers=headers)  # noqa: S310
    try:
        with _direct.open(request, timeout=ANSWER_SECONDS) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
