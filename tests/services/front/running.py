"""A real front on a real port, in a thread of the test; and a worker's hand that speaks its verbs."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from fastapi import APIRouter

from bootstrap.choose.plan import Plan
from bootstrap.launch import listener
from services.front import app as front
from services.front.port.server import Server
from services.front.settings import Settings

SVD: dict[str, Any] = {
    "model": "demo",
    "title": "Demo",
    "family": "svd",
    "inputs": ("image",),
    "defaults": {
        "size": "256x128", "num_frames": 14, "fps": 7, "num_inference_steps": 2, "motion_bucket_id": 127,
        "noise_aug_strength": 0.02, "min_guidance_scale": 1.0, "max_guidance_scale": 3.0,
    },
    "recipe": {},
    "limits": {"size_multiple": 64, "frames": (14, 25), "max_pixels": 256 * 256},
}  # fmt: skip
WAN: dict[str, Any] = {
    "model": "demo-wan",
    "title": "Demo Wan",
    "family": "wan",
    "inputs": ("text",),
    "defaults": {
        "size": "832x480", "num_frames": 81, "fps": 16, "num_inference_steps": 4, "guidance_scale": 1.0,
        "shift": 5.0, "lora": True, "lora_high_strength": 1.0, "lora_low_strength": 1.0,
    },
    "recipe": {"steps_without_lora": 20, "guidance_without_lora": 3.5, "shift_without_lora": 8.0},
    "limits": {"size_multiple": 16, "frame_step": 4, "max_frames": 121, "max_pixel_frames": 832 * 480 * 81},
}  # fmt: skip


def plan(model: dict[str, Any], data_dir: Path = Path("/nowhere")) -> Plan:
    return Plan.model_validate(
        {
            "kit_version": "0.1.0", "device": "cpu", "profile": "tiny", "settings": {}, "components": {},
            "config": None, "threads": 2, "data_dir": data_dir, **model,
        }
    )  # fmt: skip


def documented(described: dict[str, Any]) -> Callable[[httpx.Response], None]:
    """Looks at each answer that a test gets: /openapi.json must name its status."""
    paths = {
        re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))): methods
        for path, methods in sorted(described.items(), key=lambda each: "{" in each[0])
    }

    def check(answer: httpx.Response) -> None:
        method = answer.request.method.lower().replace("head", "get")
        found: dict[str, Any] = next(
            (paths[each] for each in paths if each.fullmatch(answer.request.url.path)), {}
        )
        if method in found:
            known = set(found[method]["responses"])
            assert str(answer.status_code) in known, (
                f"{answer.request.method} {answer.request.url.path} answered {answer.status_code}, and "
                f"/openapi.json has only {sorted(known)}: add responses=described.errors(...) to its route"
            )

    return check


class Front:
    """What a test needs of it. ``people`` has the token, ``anybody`` has not."""

    def __init__(self, data_dir: Path, port: int, described: dict[str, Any] | None = None) -> None:
        self.data_dir = data_dir
        self.url = f"http://127.0.0.1:{port}"
        self.token = (data_dir / "token").read_text().strip() if (data_dir / "token").exists() else ""
        self.people = httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {self.token}"}, timeout=20
        )
        self.anybody = httpx.Client(base_url=self.url, timeout=20)
        if described is not None:
            self.people.event_hooks = self.anybody.event_hooks = {"response": [documented(described)]}
        self.worker = Hand(self.url, (data_dir / "worker-token").read_text().strip())

    def plan(self, model: dict[str, Any]) -> None:
        plan(model, self.data_dir).write(self.data_dir / "plan.json")
        self.worker.models = [model["model"]]

    def boot(self, **document: Any) -> None:
        part = self.data_dir / "boot.tmp"
        part.write_text(json.dumps(document))
        part.replace(self.data_dir / "boot.json")

    def close(self) -> None:
        for client in (self.people, self.anybody, self.worker.http):
            client.close()


class Hand:
    """A worker, one verb at a time."""

    def __init__(self, url: str, token: str, name: str = "box-0") -> None:
        self.name = name
        self.models: list[str] = []
        self.http = httpx.Client(
            base_url=f"{url}/internal", headers={"Authorization": f"Bearer {token}"}, timeout=40
        )

    def says(self, state: str, **more: Any) -> None:
        self.http.post(f"/workers/{self.name}/state", json={"state": state, **more}).raise_for_status()

    def claim(self, wait_seconds: float = 0, name: str | None = None) -> dict[str, Any] | None:
        claim = {"worker": name or self.name, "models": self.models, "wait_seconds": wait_seconds}
        answer = self.http.post("/claim", json=claim)
        answer.raise_for_status()
        return None if answer.status_code == 204 else answer.json()

    def claimed(self, name: str | None = None) -> dict[str, Any]:
        job = self.claim(5, name)
        assert job is not None, "nothing to claim"
        return job

    def beat(self, job: dict[str, Any], **said: Any) -> httpx.Response:
        return self.http.post(f"/jobs/{job['id']}/beat", json={"token": job["token"], **said})

    def put(self, job: dict[str, Any], content: bytes) -> httpx.Response:
        return self.http.put(f"/jobs/{job['id']}/content", params={"token": job["token"]}, content=content)

    def finish(self, job: dict[str, Any], status: str = "completed", **more: Any) -> httpx.Response:
        return self.http.post(
            f"/jobs/{job['id']}/finish", json={"token": job["token"], "status": status, **more}
        )

    def make(self, clip: bytes, **metadata: Any) -> str:
        """The next job, from claim to finish; its id."""
        job = self.claimed()
        self.put(job, clip).raise_for_status()
        self.finish(job, metadata=metadata).raise_for_status()
        return str(job["id"])


@contextmanager
def running(settings: Settings, *doors: APIRouter) -> Iterator[Front]:
    app = front.assemble(settings)
    for door in doors:
        app.include_router(door)
    listening = listener.listen("127.0.0.1", 0)
    config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1)
    server = Server(config, app.state.context.notifier)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    of_tests = {getattr(route, "path", "") for door in doors for route in door.routes}
    paths = {path: each for path, each in app.openapi()["paths"].items() if path not in of_tests}
    found = Front(settings.data_dir, listening.getsockname()[1], paths)
    try:
        yield found
    finally:
        found.close()
        server.handle_exit(15, None)
        thread.join(10)
