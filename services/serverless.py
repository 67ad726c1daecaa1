"""RunPod's queue endpoints: takes RunPod's jobs and makes them through this box's own API.

``python -m services.serverless --url http://127.0.0.1:8000 --token-file D/token``. The same engine, manifests
and checks as everywhere else; only the door differs. A job's input is the body of ``POST /v1/videos``, with
``image`` as a data URL or base64, and optionally ``upload_url``: a presigned PUT address for a clip that is
too large for RunPod's answer.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import httpx

POLL_SECONDS = 1.0
# RunPod takes answers of 10 MB (/run) and 20 MB (/runsync); base64 makes four bytes of three.
LARGEST_ANSWER_BYTES = 7 * 1024 * 1024
READY_SECONDS = 3600.0
Progress = Callable[[Mapping[str, Any]], None]


class Refused(Exception):
    """The API said no; the message goes to RunPod's job as it is."""


class Bridge:
    """One RunPod job at a time through the local API."""

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        self.headers = {"Authorization": f"Bearer {token}"}

    async def run(self, asked: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        """The finished clip, as base64 or at ``upload_url``; ``{"error": …}`` makes RunPod fail the job."""
        given = dict(asked)
        upload_url = given.pop("upload_url", None)
        if "image" in given:
            given["input_reference"] = given.pop("image")
        async with httpx.AsyncClient(
            base_url=self.url, headers=self.headers, timeout=60, trust_env=False
        ) as api:  # this machine is behind no proxy
            try:
                await self._ready(api)
                job = await self._create(api, given)
                try:
                    job = await self._finished(api, job, progress)
                except asyncio.CancelledError:
                    await api.post(f"/v1/videos/{job['id']}/cancel")
                    raise
                return await self._answer(api, job, upload_url)
            except Refused as no:
                return {"error": str(no)}

    async def _ready(self, api: httpx.AsyncClient) -> None:
        """RunPod hands out jobs as soon as it is asked: the first may come before the model is loaded."""
        for _ in range(int(READY_SECONDS / POLL_SECONDS)):
            try:
                answer = await api.get("/readyz")
            except httpx.TransportError:
                await asyncio.sleep(POLL_SECONDS)
                continue
            if answer.status_code == 200:
                return
            if answer.json().get("state") == "failed":
                raise Refused("this worker failed to boot; its log on RunPod says why")
            await asyncio.sleep(POLL_SECONDS)
        raise Refused(f"the model was not ready after {READY_SECONDS:.0f} s")

    async def _create(self, api: httpx.AsyncClient, given: Mapping[str, Any]) -> dict[str, Any]:
        answer = await api.post("/v1/videos", json=given)
        body: dict[str, Any] = answer.json()
        if answer.status_code >= 400:
            error = body["error"]
            raise Refused(f"{error['message']} ({error.get('fix') or error.get('code')})")
        return body

    async def _finished(
        self, api: httpx.AsyncClient, job: dict[str, Any], progress: Progress
    ) -> dict[str, Any]:
        told: Any = None
        while job["status"] in ("queued", "in_progress"):
            await asyncio.sleep(POLL_SECONDS)
            job = (await api.get(f"/v1/videos/{job['id']}")).json()
            now = {
                "progress": job["progress"],
                "stage": job.get("stage"),
                "eta_seconds": job.get("eta_seconds"),
            }
            if now["progress"] != told:
                told = now["progress"]
                progress(now)
        if job["status"] != "completed":
            raise Refused(f"{job['error']['code']}: {job['error']['message']}")
        return job

    async def _answer(
        self, api: httpx.AsyncClient, job: Mapping[str, Any], upload_url: str | None
    ) -> dict[str, Any]:
        clip = (await api.get(f"/v1/videos/{job['id']}/content")).content
        facts = {name: job[name] for name in ("id", "model", "seed", "size", "num_frames", "fps", "warnings")}
        if upload_url:
            async with httpx.AsyncClient(timeout=300) as outside:
                sent = await outside.put(upload_url, content=clip, headers={"Content-Type": "video/mp4"})
            if sent.status_code >= 300:
                raise Refused(f"the clip could not be uploaded: the storage answers {sent.status_code}")
            return {**facts, "uploaded": True, "bytes": len(clip)}
        if len(clip) > LARGEST_ANSWER_BYTES:
            raise Refused(
                f"the clip has {len(clip) / 1e6:.0f} MB, RunPod's answers hold"
                f" {LARGEST_ANSWER_BYTES / 1e6:.0f}; give upload_url, a presigned PUT address"
            )
        return {**facts, "video": base64.b64encode(clip).decode(), "content_type": "video/mp4"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    arguments, _ = parser.parse_known_args()
    bridge = Bridge(arguments.url, arguments.token_file.read_text().strip())

    import runpod  # a second to import, and only here on a serverless worker

    async def handler(job: dict[str, Any]) -> dict[str, Any]:
        return await bridge.run(job["input"], lambda now: runpod.serverless.progress_update(job, now))

    runpod.serverless.start({"handler": handler})


if __name__ == "__main__":
    main()
