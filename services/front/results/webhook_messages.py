"""What a webhook says, and how it is signed: OpenAI's events or RunPod's status, after Standard Webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from services.queue.delivery import NewDelivery
from services.queue.job import CANCELLED, Job

Format = Literal["openai", "runpod"]
EVENTS = ("video.queued", "video.in_progress", "video.completed", "video.failed")
AT_THE_END = ("video.completed", "video.failed")
PREFIX = "whsec_"
RUNPOD = {"queued": "IN_QUEUE", "in_progress": "IN_PROGRESS", "completed": "COMPLETED", "failed": "FAILED"}


def owed(job: Job, form: Format) -> list[NewDelivery]:
    """The messages that a job's status asks for, those of its past included."""
    webhook = job.webhook or {}
    happened = ["video.queued"]
    if job.started_at is not None:
        happened.append("video.in_progress")
    if job.finished:
        happened.append(f"video.{job.status}")
    url = str(webhook.get("url", ""))
    return [
        NewDelivery(
            id=(id := f"evt_{secrets.token_hex(16)}"),
            event=event,
            url=url,
            host=(urlsplit(url).hostname or "")[:255],
            body=json.dumps(_event(id, event, job) if form == "openai" else _status(event, job)),
        )
        for event in happened
        if event in webhook.get("events", ())
    ]


def _event(id: str, event: str, job: Job) -> dict[str, Any]:
    """As OpenAI says it: which video, and nothing that a stranger could use."""
    at = job.completed_at if event in AT_THE_END else time.time()
    data = {"id": job.id}
    return {"id": id, "object": "event", "created_at": int(at or time.time()), "type": event, "data": data}


def _status(event: str, job: Job) -> dict[str, Any]:
    """As RunPod's endpoints say it: the answer of their status route."""
    status = RUNPOD[event.removeprefix("video.")]
    said: dict[str, Any] = {"id": job.id, "status": status}
    if job.started_at is not None:
        said["delayTime"] = _milliseconds(job.created_at, job.started_at)
    if event not in AT_THE_END:
        return said
    if job.started_at is not None and job.completed_at is not None:
        said["executionTime"] = _milliseconds(job.started_at, job.completed_at)
    if job.status == "completed":
        return {**said, "output": _output(job)}
    is_cancelled = job.error_code == CANCELLED
    return {**said, "status": "CANCELLED" if is_cancelled else status, "error": job.error_message or ""}


def _output(job: Job) -> dict[str, Any]:
    content = f"/v1/videos/{job.id}/content"
    where = {"content": content, "copied_to": job.copied_to, "url": (job.copy_state or {}).get("url")}
    return {"model": job.model, "parameters": job.values, "warnings": job.warnings, **where}


def _milliseconds(start: float, end: float) -> int:
    return max(int((end - start) * 1000), 0)


def headers(id: str, body: str, secret: str, *, at: float) -> dict[str, str]:
    """Standard Webhooks' three: HMAC-SHA256 over id, time and body. ``at``: seconds since the epoch."""
    signed = f"{id}.{int(at)}.{body}".encode()
    mark = base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "user-agent": "kinokit",
        "webhook-id": id,
        "webhook-timestamp": str(int(at)),
        "webhook-signature": f"v1,{mark}",
    }


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(PREFIX)) if secret.startswith(PREFIX) else secret.encode()


def own_secret(path: Path) -> str:
    """The secret that the file holds; made, for its owner alone, if the file is not there."""
    made = f"{PREFIX}{base64.b64encode(secrets.token_bytes(32)).decode()}"
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text().strip()
    with os.fdopen(handle, "w") as file:
        file.write(made + "\n")
    return made
