"""Every setting of the file arrives where it is used: a file that changes all, and a kit that runs by it."""

from __future__ import annotations

import copy
import json
import os
import ssl
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess, run
from typing import Any

import httpx
import psutil
import pytest
import yaml

from bootstrap import files, settings
from bootstrap.launch import tls
from bootstrap.settings import Settings
from tests import hub
from tests.hub import Hub
from tests.journeys.kit import Kit
from tests.journeys.test_timeline import remote_demo
from tests.support.ports import refused
from tests.support.waiting import wait_for

IDLE_MINUTES = 0.1  # of the second start; the first one is looked at for longer
KEEP_DAYS = 0.5


@dataclass
class Configured:
    """A kit that knows nothing but its file."""

    kit: Kit
    hub: Hub
    mirror: Hub
    file: Path
    values: dict[str, Any]

    def command(self, *arguments: str) -> CompletedProcess[str]:
        command = [sys.executable, "-m", "services.cli", *arguments, "--config", str(self.file)]
        return run(command, capture_output=True, text=True, timeout=100)

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = self.kit.http.get("/status").json()
        return found

    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.kit.data_dir / "agent.json").read_bytes())
        return found

    def agent(self) -> psutil.Process:
        return psutil.Process(self.record()["pid"])

    def command_lines(self) -> list[list[str]]:
        found = []
        for process in [self.agent(), *self.agent().children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                found.append(process.cmdline())
        return found

    def option(self, name: str) -> str:
        """What the worker is told with this flag."""
        line = next(line for line in self.command_lines() if "services.worker.worker" in line)
        return line[line.index(name) + 1]


@pytest.fixture(scope="module")
def configured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Configured]:
    folder = tmp_path_factory.mktemp("configured")
    with hub.serve() as server, hub.serve() as mirror:
        model = own_model(folder, server)
        server.allow("hf_s3cret")
        mirror.allow("m1rror")
        mirror.repos = dict(server.repos)
        for name, repo in mirror.repos.items():
            server.repos[name] = replace(repo, gated=True)
        kit = Kit(folder, str(model))
        kit.data_dir = kit.data_dir / "boxes/left"
        values = all_values(folder, kit, server, mirror)
        (folder / "kit.yaml").write_text(yaml.safe_dump(values))
        kit.data_dir.mkdir(parents=True)
        for path in (kit.data_dir / "worker-token", folder / "worker-token"):
            files.replace_text(path, "w0rker\n", mode=0o600)
        made = Configured(kit, server, mirror, folder / "kit.yaml", values)
        kit.http.headers["Authorization"] = "Bearer t0ken"
        done = made.command("up")
        assert done.returncode == 0, done.stderr
        wait_for(lambda: made.status()["boot"]["state"] in ("loading", "ready"), 100)
        yield made
        kit.close()


def own_model(folder: Path, server: Hub) -> Path:
    """The demo from the hub, with a second profile for a CPU."""
    path = remote_demo(folder, server)
    document = yaml.safe_load(path.read_text())
    cpu = next(profile for profile in document["profiles"] if profile["name"] == "cpu")
    document["licence"] |= {"id": "own-licence", "url": "https://example.org/own"}
    document["licence"] |= {"gated": True, "accept_url": "https://example.org/accept"}
    document |= {"name": "own", "profiles": [*document["profiles"], {**copy.deepcopy(cpu), "name": "second"}]}
    path.write_text(yaml.safe_dump(document))
    return path


def all_values(folder: Path, kit: Kit, server: Hub, mirror: Hub) -> dict[str, Any]:
    return {
        "model": kit.model,
        "service": "api",
        "host": "127.0.0.1",
        "port": kit.port,
        "data_dir": str(kit.data_dir.parents[1]),
        "box": "left",
        "platform": "docker",
        "public_url": "http://box.example.org:1",
        "profile": "second",
        "auth": "on",
        "allowed_hosts": ["names.example.org"],
        "token": "t0ken",
        "hf_token": "hf_s3cret",
        "civitai_token": "c1vitai",
        "mirror_tokens": {mirror.endpoint: "m1rror"},
        "hf_endpoint": server.endpoint,
        "mirrors": [mirror.endpoint],
        "verify": True,
        "idle_stop_minutes": 30,
        "stop_after_hours": 5,
        "hourly_cost": 0.25,
        "max_queued": 7,
        "stall_seconds": 200,
        "job_timeout_seconds": 3000,
        "min_free_disk_mib": 3,
        "tls": "files",
        **tls.self_signed(folder / "tls", ["127.0.0.1"]).settings(),
        "cors_origins": ["https://pages.example.org"],
        "frame_ancestors": ["https://frames.example.org"],
        "keep_days": KEEP_DAYS,
        "keep_gib": 900.0,
        "make_room_gib": 0.001,
        "database_url": f"sqlite:///{folder / 'el5ewhere.db'}",
        "accept_licence": True,
        "detach": True,
        "results_url": f"file://{folder / 'results'}",
        "results_endpoint_url": "https://s3.example.org",
        "results_name": "{user}/{id}",
        "results_link_hours": 2.5,
        "webhook_url": "https://studio.example.org/told?key=w3bhook",
        "webhook_secret": "whsec_c2lnbmVkIGJ5IHRoZSBib3g=",
        "webhook_format": "runpod",
        "webhook_events": ["video.failed"],
        "log_format": "json",
        "metrics": "open",
        "private_hosts": ["inner.example.org"],
        "remote_images": ["photos.example.org"],
        "queue_url": f"http://localhost:{kit.port}",
        "worker_token_file": str(folder / "worker-token"),
        "source": "https://example.org/v1/kinokit.whl",
        "script_url": "https://example.org/v2/start.sh",
        "box_image": "debian:12",
    }


ORDERED = {"source", "script_url", "box_image"}  # of a box that is rented: the kit itself has no use for them

# What a kit that loads its model shows of each setting; ``LATER`` has what only its end shows.
SHOWN: dict[str, Callable[[Configured], bool]] = {
    "model": lambda made: made.status()["boot"]["model"] == "own",
    "service": lambda made: made.status()["boot"]["service"] == "api",
    "host": lambda made: {each.laddr.ip for each in listeners(made)} == {"127.0.0.1"},
    "port": lambda made: made.kit.http.get("/healthz").status_code == 200,
    "data_dir": lambda made: (made.kit.data_dir / "boot.json").exists(),
    "box": lambda made: made.record()["token_file"] == str(made.kit.data_dir / "token"),
    "platform": lambda made: made.status()["boot"]["platform"] == "docker",
    "public_url": lambda made: made.status()["boot"]["url"].endswith("://box.example.org:1"),
    "profile": lambda made: made.status()["plan"]["profile"] == "second",
    "auth": lambda made: made.kit.http.get("/status", headers={"Authorization": ""}).status_code == 401,
    "allowed_hosts": lambda made: (
        made.kit.http.post(
            "/sign-in",
            data={"token": "t0ken"},
            headers={"Accept": "text/html", "Origin": "https://names.example.org"},
        ).status_code
        == 303
    ),
    "token": lambda made: made.kit.http.get("/status").status_code == 200,
    "hf_token": lambda made: any(
        each.headers.get("authorization") == "Bearer hf_s3cret" for each in made.hub.seen
    ),
    "mirror_tokens": lambda made: any(
        each.headers.get("authorization") == "Bearer m1rror" for each in made.mirror.seen
    ),
    "hf_endpoint": lambda made: made.hub.bytes_sent() > 0,
    "mirrors": lambda made: len(made.mirror.seen) > 0,
    "hourly_cost": lambda made: (
        made.status()["boot"]["hourly_cost"] == 0.25
        and made.status()["cost"]["hourly_cost"] == 0.25
        and float(made.option("--hourly-cost")) == 0.25
    ),
    "max_queued": lambda made: made.status()["queue"]["max_queued"] == 7,
    "stall_seconds": lambda made: made.status()["limits"]["stall_seconds"] == 200,
    "job_timeout_seconds": lambda made: made.status()["limits"]["job_timeout_seconds"] == 3000,
    "min_free_disk_mib": lambda made: made.status()["min_free_disk_mib"] == 3,
    "tls": lambda made: made.status()["boot"]["url"] == "https://box.example.org:1",
    "tls_certificate": lambda made: made.record()["fingerprint"] == own_certificate(made).fingerprint(),
    "tls_key": lambda made: https(made).status_code == 200,
    "cors_origins": lambda made: (
        "access-control-allow-origin"
        in made.kit.http.get("/healthz", headers={"Origin": "https://pages.example.org"}).headers
    ),
    "frame_ancestors": lambda made: (
        "https://frames.example.org" in made.kit.http.get("/healthz").headers["content-security-policy"]
    ),
    "database_url": lambda made: (made.file.parent / "el5ewhere.db").exists(),
    "accept_licence": lambda made: (
        json.loads((made.kit.data_dir.parents[1] / "licences.json").read_text())
        == {"https://example.org/own": "own"}
    ),
    "detach": lambda made: os.getpgid(made.agent().pid) == made.agent().pid,
    "results_url": lambda made: made.status()["results"]["to"] == f"file://{made.file.parent / 'results'}",
    "results_endpoint_url": lambda made: made.status()["results"]["endpoint"] == "https://s3.example.org",
    "results_name": lambda made: made.status()["results"]["name"] == "{user}/{id}",
    "results_link_hours": lambda made: made.status()["results"]["link_hours"] == 2.5,
    "webhook_url": lambda made: made.status()["webhooks"]["host"] == "studio.example.org",
    "webhook_secret": lambda made: made.status()["webhooks"]["secret"] == "set",
    "webhook_format": lambda made: made.status()["webhooks"]["format"] == "runpod",
    "webhook_events": lambda made: made.status()["webhooks"]["events"] == ["video.failed"],
    "keep_gib": lambda made: made.status()["retention"]["keep_gib"] == 900.0,
    "make_room_gib": lambda made: made.status()["retention"]["make_room_gib"] == 0.001,
    "log_format": lambda made: all_json(made.kit.data_dir / "logs"),
    "metrics": lambda made: made.kit.http.get("/metrics", headers={"Authorization": ""}).status_code == 200,
    "remote_images": lambda made: made.status()["remote_images"] == ["photos.example.org"],
    "private_hosts": lambda made: made.status()["private_hosts"] == ["inner.example.org"],
    "queue_url": lambda made: made.option("--queue") == f"http://localhost:{made.kit.port}",
    "worker_token_file": lambda made: made.option("--token-file") == str(made.file.parent / "worker-token"),
}
ELSEWHERE = {"civitai_token"}  # goes to civitai.com alone: tests/bootstrap/fetch/test_keys.py
LATER = {"verify", "idle_stop_minutes", "stop_after_hours", "keep_days"}


def own_certificate(made: Configured) -> tls.Files:
    return tls.Files(Path(made.values["tls_certificate"]), Path(made.values["tls_key"]))


def https(made: Configured) -> httpx.Response:
    trusts = ssl.create_default_context(cafile=made.values["tls_certificate"])
    return httpx.get(f"https://127.0.0.1:{made.kit.port}/healthz", verify=trusts, timeout=60)


def all_json(logs: Path) -> bool:
    """Every line of front, worker and GPU child, and the agent's, with what each must say."""
    texts = [(logs / f"{name}.log").read_text() for name in ("agent", "front", "worker-0")]
    lines = [line for text in texts for line in text.splitlines()]
    return len(lines) > 3 and all({"time", "level", "message"} <= json.loads(line).keys() for line in lines)


def listeners(made: Configured) -> list[Any]:
    return [each for each in made.agent().net_connections("tcp") if each.status == psutil.CONN_LISTEN]


def test_the_file_changes_every_setting_and_each_has_a_row(configured: Configured) -> None:
    assert (
        configured.values.keys() == Settings.model_fields.keys() == SHOWN.keys() | LATER | ORDERED | ELSEWHERE
    )
    chosen = settings.load({}, {}, configured.file)
    assert {name for name, source in chosen.sources.items() if source == "default"} == set()
    assert not [name for name, value in chosen.settings if value == settings.default(name)]


@pytest.mark.parametrize("name", SHOWN)
def test_a_setting_of_the_file_arrives_where_it_is_used(configured: Configured, name: str) -> None:
    assert SHOWN[name](configured)


@pytest.mark.parametrize("name", sorted(ORDERED))
def test_a_setting_for_rented_boxes_is_in_what_is_pasted_there(configured: Configured, name: str) -> None:
    done = configured.command("startup", "--platform", "vast", "--model", "demo")
    assert configured.values[name] in done.stdout, done.stderr


def test_no_secret_is_in_a_process_list_or_a_log(configured: Configured) -> None:
    shown = f"{configured.command_lines()}"
    shown += "".join(log.read_text() for log in (configured.kit.data_dir / "logs").iterdir())
    assert "services.front.app" in shown
    for secret in ("t0ken", "hf_s3cret", "el5ewhere", "c1vitai", "m1rror", "whsec_", "w3bhook"):
        assert secret not in shown


def test_a_front_that_is_started_again_has_the_same_settings(configured: Configured) -> None:
    front = next(p for p in configured.agent().children() if "services.front.app" in p.cmdline())
    front.kill()
    wait_for(lambda: configured.status()["queue"]["max_queued"] == 7, 30)


def test_clips_are_kept_files_are_hashed_again_and_idleness_ends_it(configured: Configured) -> None:
    """The second start finds its files: what it says of them is that it read them again."""
    assert configured.command("down").returncode == 0
    configured.file.write_text(yaml.safe_dump({**configured.values, "idle_stop_minutes": IDLE_MINUTES}))
    assert configured.command("up").returncode == 0
    kit = configured.kit
    kit.ready()
    job = kit.ended(kit.ask(num_inference_steps=1))
    assert job["status"] == "completed", job
    assert job["expires_at"] == pytest.approx(job["completed_at"] + KEEP_DAYS * 24 * 3600, abs=1)
    files_read = [row["detail"] for row in kit_timeline(configured) if row["track"] == "download"]
    assert files_read == ["was on this box"] * len(files_read) != []
    began = time.monotonic()
    wait_for(lambda: refused(kit.port), 60)
    assert time.monotonic() - began > IDLE_MINUTES * 60 / 2
    assert "idle for 0.1 minutes" in (kit.data_dir / "logs/agent.log").read_text()


def kit_timeline(made: Configured) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = made.status()["boot"]["timeline"]
    return rows
