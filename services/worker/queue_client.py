"""The worker's verbs over HTTP. A front that is away is waited for; a lost lease raises ``LeaseLost``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bootstrap.choose.plan import Plan
from bootstrap.errors import KitError
from bootstrap.launch.listener import is_loopback
from services.worker.protocol import (
    Beat,
    BeatAnswer,
    ChildDied,
    Claim,
    Claimed,
    Finish,
    Message,
    Progress,
    Release,
    WorkerReport,
)

log = logging.getLogger("kinokit.worker")

CLAIM_SECONDS = 20.0
PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0)
MANY_TRIES = 8  # half a minute, of a verb that a front which is there answers with an error of its own
INPUT_MISSING = "input_missing"
WAITS = (408, 425, 429, 502, 503, 504, 507)  # the front, its database or its disk cannot now
CHUNK_BYTES = 1024**2


class LeaseLost(Exception):
    """Another attempt has the job now, or it was deleted: stop, and send nothing more about it."""


class Refused(Exception):
    """The front does not take this verb of the job. ``code`` says why, as a job's error does."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RemoteQueue:
    """One worker's connection to the queue, wherever that is."""

    def __init__(self, url: str, token_file: Path, worker: str, *, hourly_cost: float | None = None) -> None:
        """``hourly_cost``: what this worker costs, in dollars; None: nobody said."""
        self._worker = worker
        self._hourly_cost = hourly_cost
        address = httpx.URL(url)
        try:
            token = token_file.read_text().strip()
        except OSError as error:
            raise KitError(
                f"the worker's token cannot be read: {error}", fix="give the front's worker-token file"
            ) from error
        self._http = httpx.AsyncClient(
            base_url=address,
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(30.0, read=CLAIM_SECONDS + 20),
            trust_env=not is_loopback(address.host),  # this machine is behind no proxy
        )

    async def close(self) -> None:
        await self._http.aclose()

    async def report(self, report: WorkerReport) -> None:
        await self._post(f"/internal/workers/{self._worker}/state", report, tries=None)

    async def claim(self, plan: Plan) -> Claimed | None:
        """The next job that this plan can make; None when there was none for a while."""
        claim = Claim(
            worker=self._worker,
            models=(plan.model,),
            vram_gib=plan.vram_gib,
            gpus=max((len(group) for group in plan.gpu_groups), default=1),
            hourly_cost=self._hourly_cost,
            wait_seconds=CLAIM_SECONDS,
        )
        answer = await self._post("/internal/claim", claim, tries=None)
        return None if answer.status_code == 204 else Claimed.model_validate_json(answer.content)

    async def read_input(self, job: Claimed, path: Path) -> None:
        answer = await self._send("GET", f"/internal/jobs/{job.id}/input", params={"token": job.token})
        await asyncio.to_thread(path.write_bytes, answer.content)  # the front has limited its size

    async def beat(self, job: Claimed, progress: Progress | None) -> bool:
        """Keep the lease; True when the job was cancelled."""
        beat = Beat(token=job.token)
        if progress is not None:
            beat = Beat(token=job.token, **progress.model_dump(exclude={"kind"}))
        answer = await self._post(f"/internal/jobs/{job.id}/beat", beat)
        return BeatAnswer.model_validate_json(answer.content).cancel

    async def write_content(self, job: Claimed, path: Path) -> None:
        verb = f"/internal/jobs/{job.id}/content"
        await self._send("PUT", verb, params={"token": job.token}, content_path=path)

    async def finish(self, job: Claimed, finish: Finish) -> None:
        await self._post(f"/internal/jobs/{job.id}/finish", finish)

    async def release(self, job: Claimed) -> None:
        await self._post(f"/internal/jobs/{job.id}/release", Release(token=job.token))

    async def bury(self, job: Claimed, reason: str) -> None:
        """The child died in this job."""
        await self._post(f"/internal/jobs/{job.id}/died", ChildDied(token=job.token, reason=reason))

    async def _post(self, path: str, message: Message, *, tries: int | None = MANY_TRIES) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return await self._send("POST", path, content=message.model_dump_json(), headers=headers, tries=tries)

    async def _send(
        self,
        method: str,
        path: str,
        *,
        content_path: Path | None = None,
        tries: int | None = MANY_TRIES,
        **given: Any,
    ) -> httpx.Response:
        """Until there is an answer: the front may be starting again, a tunnel may be down.

        ``tries`` of what the front itself refuses, None: for ever. Raises ``LeaseLost`` or ``Refused``.
        """
        tried = refused = 0
        while True:
            try:
                if content_path is not None:
                    given |= _body(content_path)
                answer = await self._http.request(method, path, **given)
            except httpx.TransportError as error:
                problem = f"{type(error).__name__}: {error}"
            else:
                if answer.status_code == 409:
                    raise LeaseLost(path)
                if answer.is_success:
                    return answer
                problem = f"HTTP {answer.status_code}: {answer.text[:300]}"
                if (refusal := _refusal(answer)) is not None and tries is not None:
                    refused += tries if refusal.is_final else 1
                    if refused >= tries:
                        raise refusal.error
            if tried in (0, 5) or tried % 60 == 0:
                log.warning("%s %s: %s; trying again", method, path, problem)
            await asyncio.sleep(PAUSES[min(tried, len(PAUSES) - 1)])
            tried += 1


@dataclass(frozen=True)
class _Refusal:
    error: Refused
    is_final: bool  # the same again would be refused as well


def _refusal(answer: httpx.Response) -> _Refusal | None:
    """The front's own word against a verb; None for what passes, and for what stands before the front."""
    try:
        said = answer.json()["error"]
        code, message = str(said["code"]), str(said["message"])
    except (ValueError, KeyError, TypeError):
        return None
    if answer.status_code in WAITS:
        return None
    is_final = answer.status_code < 500 and answer.status_code not in (401, 403)
    code = code if code == INPUT_MISSING else "generation_failed"
    text = message if code == INPUT_MISSING else f"the front refused a message about it: {code}, {message}"
    return _Refusal(Refused(code, text), is_final)


def _body(path: Path) -> dict[str, Any]:
    """A file to be sent as it is read, anew for each try."""
    headers = {"Content-Length": str(path.stat().st_size), "Content-Type": "video/mp4"}
    return {"content": _chunks(path), "headers": headers}


async def _chunks(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, CHUNK_BYTES):
            yield chunk
