"""What the front says about itself and the workers, asked over its own port."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from typing import Any

from bootstrap.errors import KitError

ANSWER_SECONDS = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # the own port is behind no proxy


class Watch:
    """``failure``: the workers' or the queue's word for why no job can run, once ``state`` said "failed"."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._token = token
        self.status: dict[str, Any] = {}
        self.failure: KitError | None = None

    async def answers(self) -> None:
        """Wait until the front answers."""
        while await asyncio.to_thread(self._get, "/healthz") is None:  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)

    async def state(self) -> tuple[str, dict[str, Any]]:
        """The state as the front sees it ("" when it does not answer), and the phase ``load``."""
        found = await asyncio.to_thread(self._get, "/status")
        if found is None:
            return "", {}
        self.status = found
        boot = found["boot"]
        load: dict[str, Any] = next((phase for phase in boot["phases"] if phase["name"] == "load"), {})
        told = {key: load[key] for key in ("detail", "progress") if load.get(key) is not None}
        workers = found["workers"]
        failure = _failure(workers, found.get("queue") or {})
        self.failure = None
        if failure is not None:
            self.failure = KitError(
                str(failure.get("problem", "the worker failed")), fix=str(failure.get("fix", "read the logs"))
            )
            return "failed", told
        if any(worker["state"] == "ready" for worker in workers) and boot["state"] in ("ready", "failed"):
            return "ready", told
        return str(boot["state"]), told

    def _get(self, path: str) -> dict[str, Any] | None:
        return get(self._url, path, self._token)


def _failure(workers: list[dict[str, Any]], queue: dict[str, Any]) -> dict[str, Any] | None:
    """Why no job can run: the queue's own reason, or that of the workers when none is left."""
    failed = [worker["failure"] for worker in workers if worker["state"] == "failed" and worker["failure"]]
    if failed and len(failed) == len(workers):
        return dict(failed[0])
    return queue.get("failure")


def get(url: str, path: str, token: str | None = None) -> dict[str, Any] | None:
    """One JSON answer of this machine's own front; None when there is none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url + path, headers=headers)  # noqa: S310
    try:
        with _direct.open(request, timeout=ANSWER_SECONDS) as answer:
            found = json.load(answer)
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None
