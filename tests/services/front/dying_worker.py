"""A worker of a few lines, killed in the middle of some uploads: ``dying_worker.py URL TOKEN NAME CLIP``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx


def main(url: str, token: str, name: str, clip: Path) -> None:
    http = httpx.Client(base_url=f"{url}/internal", headers={"Authorization": f"Bearer {token}"}, timeout=30)
    while True:
        answer = http.post(
            "/claim", json={"worker": name, "models": ["demo-wan"], "wait_seconds": 1}
        ).raise_for_status()
        if answer.status_code == 204:
            return
        job = answer.json()
        dies = job["attempt"] == 1 and job["values"]["seed"] % 2 == 0
        content = upload(clip.read_bytes(), dies=dies)
        path = f"/jobs/{job['id']}"
        http.put(f"{path}/content", params={"token": job["token"]}, content=content).raise_for_status()
        done = {"token": job["token"], "status": "completed", "metadata": {"worker": name}}
        http.post(f"{path}/finish", json=done).raise_for_status()


def upload(content: bytes, *, dies: bool) -> Iterator[bytes]:
    yield content[:1000]
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    yield content[1000:]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], Path(sys.argv[4]))
