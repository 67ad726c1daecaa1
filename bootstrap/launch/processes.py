"""The agent's processes: the front and one worker for each group of GPUs; started, kept, ended in order.

Imported before the front runs: nothing heavy here.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import logging
import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap import data_directory, volume
from bootstrap.errors import KitError
from bootstrap.launch import die_with_parent
from bootstrap.launch.supervise import FRONT, WORKER, Death, Supervised

if TYPE_CHECKING:
    from bootstrap.choose.plan import Plan

log = logging.getLogger("kinokit.agent")

WORKERS_END_SECONDS = 5.0  # a worker gives its job back and ends its GPU child
FRONT_ENDS_SECONDS = 3.0
# The part of bootstrap.settings that the front receives; services.front.settings has the same names.
FRONT_SETTINGS = (
    "service",
    "auth",
    "allowed_hosts",
    "database_url",
    "max_queued",
    "stall_seconds",
    "job_timeout_seconds",
    "min_free_disk_mib",
    "tls_certificate",
    "tls_key",
    "cors_origins",
    "frame_ancestors",
    "keep_days",
    "keep_gib",
    "make_room_gib",
    "results_url",
    "results_endpoint_url",
    "results_name",
    "results_link_hours",
    "webhook_url",
    "webhook_secret",
    "webhook_format",
    "webhook_events",
    "metrics",
    "log_format",
    "private_hosts",
    "remote_images",
)


class Processes:
    """``deaths`` holds every end of a process that was not asked for, until somebody takes it out."""

    def __init__(self, data_dir: Path, env: Mapping[str, str]) -> None:
        self.deaths: asyncio.Queue[Death] = asyncio.Queue()
        self._data_dir = data_dir
        self._env = env
        self._front: Supervised | None = None
        self._workers: list[Supervised] = []
        self._bridge: Supervised | None = None
        self._given_up: set[str] = set()
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def start_front(self, listening: socket.socket, settings: Mapping[str, Any]) -> None:
        """It inherits the socket that listens already, so that a new one loses nobody who waits.

        It reads its part of the resolved settings on its standard input: no process list shows a secret.
        """
        fd = listening.fileno()
        arguments = ["--data-dir", str(self._data_dir), "--fd", str(fd), "--settings", "-"]
        given = {name: settings[name] for name in FRONT_SETTINGS}
        self._front = Supervised(
            "front",
            die_with_parent.command("services.front.app", *arguments),
            env=self._env,
            log=self._data_dir / "logs/front.log",
            policy=FRONT,
            died=self.deaths.put_nowait,
            pass_fds=(fd,),
            stdin=json.dumps(given).encode(),
        )
        self._keep(self._front)
        await self._front.started.wait()

    def start_workers(
        self,
        plan: Plan,
        *,
        queue_url: str,
        token_file: Path,
        hourly_cost: float | None = None,
        log_format: str = "text",
    ) -> int:
        """One for each group of GPUs; how many. ``queue_url`` is the front whose jobs they make.

        ``hourly_cost`` is the whole box's, in dollars; each worker stands for an equal part of it.
        The draft must lie there: they import and start the GPU at once, and load what arrives as it arrives.
        """
        groups = plan.gpu_groups or ((),)
        for index, group in enumerate(groups):
            arguments = ["--plan", str(self._data_dir / data_directory.DRAFT), "--queue", queue_url]
            name = f"{named_by(token_file)}{box_name(self._data_dir)}-{index}"
            arguments += ["--token-file", str(token_file), "--name", name]
            arguments += ["--log-format", log_format]
            if hourly_cost is not None:
                arguments += ["--hourly-cost", repr(hourly_cost / len(groups))]
            worker = Supervised(
                f"worker-{index}",
                die_with_parent.command("services.worker.worker", *arguments),
                env={**self._env, **worker_environment(plan, group, self._env)},
                log=self._data_dir / f"logs/worker-{index}.log",
                policy=WORKER,
                died=self.deaths.put_nowait,
            )
            self._workers.append(worker)
            self._keep(worker)
        return len(self._workers)

    def start_bridge(self, local_url: str) -> KitError | None:
        """Where RunPod's queue hands out the jobs: the process that takes them. Elsewhere nothing.

        RunPod's SDK lives in an environment of its own, which images/serverless makes and names: a fact of
        the image, not a setting. What is returned says why an image without it takes no jobs.
        """
        if not self._env.get("RUNPOD_WEBHOOK_GET_JOB"):
            return None
        if not self._env.get("KINOKIT_RUNPOD_PYTHON") and importlib.util.find_spec("runpod") is None:
            return KitError(
                "this is a queue endpoint of RunPod, and the image has no SDK to take the endpoint's jobs",
                fix="use the image kinokit-serverless, or make a load-balancing endpoint",
            )
        arguments = ["--url", local_url, "--token-file", str(self._data_dir / data_directory.TOKEN)]
        python = self._env.get("KINOKIT_RUNPOD_PYTHON")
        self._bridge = Supervised(
            "serverless",
            die_with_parent.command("services.serverless", *arguments, python=python),
            env=self._env,
            log=self._data_dir / "logs/serverless.log",
            policy=FRONT,
            died=self.deaths.put_nowait,
        )
        self._keep(self._bridge)
        return None

    async def end_workers(self) -> None:
        """They give their jobs back and end; who does not is killed."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.ask_to_end()
        await self._wait([worker.name for worker in workers], WORKERS_END_SECONDS)
        for worker in workers:
            worker.kill()

    async def end(self) -> None:
        """Workers first, while the front still takes their jobs back; then the front; then who is left."""
        if self._bridge is not None:
            self._bridge.ask_to_end()
        await self.end_workers()
        everybody = [] if self._bridge is None else [self._bridge]
        if self._front is not None:
            self._front.ask_to_end()
            await self._wait(["front"], FRONT_ENDS_SECONDS)
            everybody.append(self._front)
        for process in everybody:
            process.kill()
        await self._wait(list(self._runs), 1.0)

    def _keep(self, process: Supervised) -> None:
        self._runs[process.name] = asyncio.create_task(process.run())

    async def _wait(self, names: list[str], seconds: float) -> None:
        if names:
            await asyncio.wait([self._runs[name] for name in names], timeout=seconds)

    def no_worker_left(self, death: Death) -> KitError | None:
        """The failure when this death was the last one of the last worker that was still tried."""
        if not death.gave_up:
            return None
        self._given_up.add(death.name)
        if len(self._given_up) < len(self._workers):
            return None
        return KitError(
            f"{death.name} died {death.quick_deaths} times in a row: {death.reason}",
            fix="read `kinokit logs --worker`, then start again: kinokit down, kinokit up",
        )


def worker_environment(plan: Plan, group: tuple[str, ...], env: Mapping[str, str]) -> dict[str, str]:
    """What must be set before anything heavy is imported: the GPUs, thread caps, where kernels are kept."""
    from bootstrap.detect import threads  # reads hardware: after the front has started
    from bootstrap.torch_build import driver

    cache = volume.cache(plan.data_dir)
    return {
        **threads.environment(plan.threads, env),
        **(driver.library_path(env) if group else {}),
        "CUDA_VISIBLE_DEVICES": ",".join(group),
        "TRITON_CACHE_DIR": env.get("TRITON_CACHE_DIR") or str(cache / "triton"),
        "TORCHINDUCTOR_CACHE_DIR": env.get("TORCHINDUCTOR_CACHE_DIR") or str(cache / "inductor"),
        "KINOKIT_KERNELS_DIR": env.get("KINOKIT_KERNELS_DIR") or str(cache / "kernels"),
        # Clips of different sizes would leave gaps: the profiles' memory numbers were measured with this.
        "PYTORCH_CUDA_ALLOC_CONF": env.get("PYTORCH_CUDA_ALLOC_CONF") or "expandable_segments:True",
        "PYTHONUNBUFFERED": "1",
    }


def named_by(token_file: Path) -> str:
    """How the names of workers with this token begin: a box's own token has the box's name in it."""
    with suppress(OSError):
        found = re.match(r"kw_([A-Za-z0-9_-]+\.)", token_file.read_text().strip())
        return found[1] if found else ""
    return ""


def box_name(data_dir: Path) -> str:
    """This box's name in a fleet; two data directories of one host differ."""
    mark = hashlib.sha256(str(data_dir).encode()).hexdigest()[:6]
    with suppress(OSError):
        return f"{os.uname().nodename}-{mark}"
    return mark
