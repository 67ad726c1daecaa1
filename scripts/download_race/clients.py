"""The clients of the comparison, each run in a process of its own."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .case import MIB, REPO, REVISION


def kinokit(spec: dict[str, Any], place: Path) -> Callable[[], None]:
    from bootstrap import fetch
    from bootstrap.choose.manifest import Manifest

    files = [{"path": name, **about} for name, about in spec["about"].items()]
    manifest = Manifest.model_validate(
        {
            "name": "bench",
            "title": "Bench",
            "summary": "Random bytes",
            "family": "wan",
            "inputs": ["text"],
            "licence": {"id": "none", "url": "https://example.org"},
            "source": {"repo": REPO, "revision": REVISION},
            "files": files,
            "components": {},
            "limits": {},
            "profiles": [{"name": "p", "title": "p", "needs": {}}],
        }
    )

    def work() -> None:
        fetch.fetch(manifest, store=place, token=None, endpoint=spec["hub"], report=lambda _: None)

    return work


def hf(spec: dict[str, Any], place: Path) -> Callable[[], None]:
    from huggingface_hub import snapshot_download

    def work() -> None:
        snapshot_download(REPO, revision=REVISION, endpoint=spec["hub"], local_dir=place, token=False)
        verify(spec, place)

    return work


def hf_transfer(spec: dict[str, Any], place: Path) -> Callable[[], None]:
    from hf_transfer import download

    def one(name: str) -> None:
        download(f"{spec['storage']}/{name}", str(place / name), 16, 16 * MIB, 3, 5, {})

    def work() -> None:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(one, spec["about"]))
        verify(spec, place)

    return work


def aria2c(spec: dict[str, Any], place: Path) -> Callable[[], None]:
    listed = place / "list"
    lines = [
        f"{spec['storage']}/{name}\n checksum=sha-256={about['sha256']}\n out={name}"
        for name, about in spec["about"].items()
    ]
    listed.write_text("\n".join(lines))
    options = ["-x16", "-s16", "-j4", "-q", "--file-allocation=none", "-k1M", f"-d{place}", f"-i{listed}"]
    return lambda: checked(["aria2c", *options, *([f"--ca-certificate={spec['ca']}"] if spec["ca"] else [])])


def curl(spec: dict[str, Any], place: Path) -> Callable[[], None]:
    options = ["curl", "-sS", "--fail", "-Z", "--parallel-max", "4", "--parallel-immediate", "--http1.1"]
    options += ["--cacert", spec["ca"]] if spec["ca"] else []
    for name in spec["about"]:
        options += ["-o", str(place / name), f"{spec['storage']}/{name}"]

    def work() -> None:
        checked(options)
        verify(spec, place)

    return work


def checked(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode}: {done.stderr[-200:]}")


def verify(spec: dict[str, Any], place: Path) -> None:
    """What the tools without digests need beside them: hashlib, on all cores."""

    def one(name: str) -> bool:
        with (place / name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == str(spec["about"][name]["sha256"])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        if not all(pool.map(one, spec["about"])):
            raise SystemExit("a wrong byte")


CLIENTS = {"kinokit": kinokit, "hf": hf, "hf_transfer": hf_transfer, "aria2c": aria2c, "curl": curl}


def run(name: str, spec_path: Path, place: Path) -> None:
    """The child: seconds from the first request to the last hash, without the interpreter's start."""
    work = CLIENTS[name](json.loads(spec_path.read_text()), place)
    before = cpu_seconds()
    began = time.monotonic()
    work()
    print(json.dumps({"seconds": time.monotonic() - began, "cpu": cpu_seconds() - before}))


def cpu_seconds() -> float:
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in use)
