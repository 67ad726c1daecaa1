"""Measures a start against its floor: `make bench-coldstart`, or with ARGS="--mbit 25 --gpu wan22".

Cold: an empty data directory, the weights from a local hub behind a link of that speed. Warm: the same
directory again; ``--disk``: and again after the box has forgotten all files. The floor is bytes over link;
below it no start can be. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import mmap
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))
from bootstrap.choose import manifest, reading
from bootstrap.choose.manifest import Manifest
from tests.hub import Hub

HERE = Path(__file__).parents[1]
REPO, REVISION = "bench/coldstart", "c01d" * 10
WAIT_SECONDS = 900.0
SMALL_BYTES = 64 * 1024
GOALS = {"cold_ready_over_floor_seconds": 15.0, "warm_ready_seconds": 12.0, "warm_first_clip_seconds": 25.0}


@dataclass(frozen=True)
class Case:
    """Seconds from the command."""

    case: str
    bytes: int
    floor: float
    port: float
    page: float
    ready: float
    first_clip: float | None
    download: float | None  # of these, what the download took, hashing included
    imports: float | None  # of these, what the workers' imports took
    overlapped: float | None  # of the imports, what went on while files arrived


def main() -> None:
    options = arguments()
    folder = Path(tempfile.mkdtemp(prefix="kinokit-coldstart-", dir=options.folder))
    try:
        cases = measure(options, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(cases, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo", help="a shipped model whose files lie in this checkout")
    parser.add_argument(
        "--gpu", help="instead: this Wan model with full-size random files; needs the GPU for it"
    )
    parser.add_argument("--mbit", type=float, help="of the link; 25, with --gpu 10000")
    parser.add_argument("--times", type=int, default=1, help="starts of each kind; the quickest counts")
    parser.add_argument("--folder", help="where data directories and files are made; the system's for such")
    parser.add_argument(
        "--files",
        type=Path,
        help="of --gpu: where the random files are, or are made and left; /dev/shm is a disk saved",
    )
    parser.add_argument(
        "--disk", action="store_true", help="a third start, warm, but with no file in memory; needs root"
    )
    parser.add_argument("--kit", type=Path, default=HERE, help="another checkout of the kit to measure")
    options = parser.parse_args()
    options.mbit = options.mbit or (10000.0 if options.gpu else 25.0)
    return options


def measure(options: argparse.Namespace, folder: Path) -> list[Case]:
    model = reading.load(options.gpu or options.model)
    local = random_files(model, options.files or folder / "files") if options.gpu else shipped_files(model)
    link = options.mbit * 1e6 / 8
    with serving(local, link) as hub:
        path = folder / "model.yaml"
        path.write_text(yaml.safe_dump(described(model, local)))
        total = sum(file.stat().st_size for file in local.values())
        found = []
        for number in range(options.times):
            data_dir = folder / f"data-{number}"
            for case, count in (("cold", total), ("warm", 0), *([("disk", 0)] if options.disk else [])):
                if case == "disk":
                    forget_files()
                it = Start(options.kit, path, data_dir, hub.endpoint, free_port())
                found.append(start(case, count, link, it, model))
                print(f"  {case}: ready after {found[-1].ready:.1f} s", file=sys.stderr, flush=True)
            shutil.rmtree(data_dir, ignore_errors=True)
    return [
        min((each for each in found if each.case == case), key=lambda each: each.ready)
        for case in dict.fromkeys(each.case for each in found)
    ]


def forget_files() -> None:
    """Nothing of any file stays in memory: what a box has after it was rebooted. Needs root."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


# --- files and who serves them --------------------------------------------------------------------


def shipped_files(model: Manifest) -> dict[str, Path]:
    if model.source.folder is None:
        raise SystemExit(
            f"error: the files of {model.name} are not in this checkout\n  fix: --model demo, or --gpu"
        )
    folder = manifest.MANIFEST_FOLDER / model.source.folder
    return {file.path: folder / file.path for file in model.files}


def random_files(model: Manifest, folder: Path) -> dict[str, Path]:
    """Full size, in the true layout; time does not depend on the values."""
    if model.family.name != "wan" or not model.config:
        raise SystemExit(f"error: no maker of random files for {model.name}\n  fix: --gpu wan22")
    from wan_bench import files

    made = files.make(folder, model.name).components
    return {model.components[role]: path for role, path in made.items()}


def described(model: Manifest, local: Mapping[str, Path]) -> dict[str, Any]:
    """The manifest, with these files from the local hub."""
    document: dict[str, Any] = json.loads(model.model_dump_json(exclude_none=True))
    document["source"] = {"repo": REPO, "revision": REVISION}
    document["files"] = [{"path": path, "bytes": file.stat().st_size} for path, file in local.items()]
    return document


@contextmanager
def serving(local: Mapping[str, Path], link: float) -> Iterator[Hub]:
    """The files behind one link, whatever the number of connections."""
    hub = Hub()
    contents: dict[str, Any] = {}
    for path, file in local.items():
        small = file.stat().st_size < SMALL_BYTES
        with file.open("rb") as opened:
            contents[path] = opened.read() if small else mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
    hub.add(REPO, contents, revision=REVISION)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        digests = dict(zip(local, threads.map(digest, local.values()), strict=True))
    repo = hub.repos[REPO]
    object.__setattr__(repo, "sha256", digests.__getitem__)  # hashed once, not at each request
    hub.link_bytes_per_second = link
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def digest(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


# --- one start ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Start:
    """One kit and the folder that it starts in."""

    kit: Path
    model_file: Path
    data_dir: Path
    endpoint: str
    port: int

    @property
    def log(self) -> Path:
        return self.data_dir.with_suffix(".log")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "services.cli", *words, "--data-dir", str(self.data_dir)]

    @property
    def environment(self) -> dict[str, str]:
        path = os.pathsep.join([str(self.kit), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        return {**os.environ, "PYTHONPATH": path}

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        words = ["up", "--model", str(self.model_file), "--service", "api", "--host", "127.0.0.1"]
        words += ["--port", str(self.port), "--auth", "off", "--hf-endpoint", self.endpoint]
        with self.log.open("ab") as output:
            process = subprocess.Popen(
                self.command(*words), cwd=self.kit, env=self.environment, stdout=output, stderr=output
            )
        try:
            yield process
        finally:
            subprocess.run(self.command("down"), cwd=self.kit, env=self.environment, capture_output=True)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def start(case: str, count: int, link: float, it: Start, model: Manifest) -> Case:
    """``count`` bytes have to come over the link."""
    began = time.monotonic()
    with it.running() as process:
        times = times_of(it, model, process, began)
        time.sleep(3)  # the agent asks the workers every two seconds
        rows = json.loads((it.data_dir / "boot.json").read_text()).get("timeline", [])
    phases = json.loads((it.data_dir / "boot.json").read_text())["phases"]
    fetch = next(phase for phase in phases if phase["name"] == "fetch")
    download = round(fetch["ended_at"] - fetch["started_at"], 2)
    imports, overlapped = of_imports(rows)
    floor = round(count / link, 2)
    return Case(case, count, floor, **times, download=download, imports=imports, overlapped=overlapped)


def times_of(it: Start, model: Manifest, process: subprocess.Popen[bytes], began: float) -> dict[str, float]:
    """Seconds from ``began`` until each first happened."""
    seen = {}
    with httpx.Client(base_url=f"http://127.0.0.1:{it.port}", trust_env=False, timeout=30) as http:
        steps: dict[str, Callable[[], bool]] = {
            "port": lambda: connects(it.port),
            "page": lambda: http.get("/healthz").status_code == 200,
            "ready": lambda: is_ready(http, it.log),
        }
        for name, asked in steps.items():
            until(asked, process, it.log)
            seen[name] = round(time.monotonic() - began, 2)
        seen["first_clip"] = round(clip(http, model, process, it.log) - began, 2)
    return seen


def of_imports(rows: list[dict[str, Any]]) -> tuple[float | None, float | None]:
    """How long the imports took, and how much of that while the files arrived."""
    spans = {row["name"]: row for row in rows if row["name"] in ("fetch", "imports") and row["ended_at"]}
    if len(spans) < 2:
        return None, None
    fetch, imports = spans["fetch"], spans["imports"]
    both = min(fetch["ended_at"], imports["ended_at"]) - max(fetch["started_at"], imports["started_at"])
    return round(imports["ended_at"] - imports["started_at"], 2), round(max(0.0, both), 2)


def clip(http: httpx.Client, model: Manifest, process: subprocess.Popen[bytes], log: Path) -> float:
    """Ask for a clip of the model's defaults; when it was there."""
    fields, files = {"seed": "7"}, {}
    if "text" in model.inputs:
        fields["prompt"] = "a cat walks along the beach at sunset"
    if "image" in model.inputs:
        files["input_reference"] = ("photo.png", photo(), "image/png")
    answer = http.post("/v1/videos", data=fields, files=files or None)
    if answer.status_code != 200:
        raise SystemExit(f"error: the clip was refused: {answer.text}")
    job = answer.json()["id"]

    def ended() -> bool:
        found = http.get(f"/v1/videos/{job}").json()
        if found["status"] == "failed":
            raise SystemExit(f"error: the clip failed: {found['error']}")
        return bool(found["status"] == "completed")

    until(ended, process, log)
    return time.monotonic()


def photo() -> bytes:
    from PIL import Image

    data = io.BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((640, 360)).save(data, "PNG")
    return data.getvalue()


def until(asked: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while True:
        with suppress(httpx.TransportError, OSError):
            if asked():
                return
        if process.poll() is not None or time.monotonic() > end:
            raise SystemExit(f"error: the kit did not start\n{log.read_text()[-3000:]}")
        time.sleep(0.02)


def is_ready(http: httpx.Client, log: Path) -> bool:
    answer = http.get("/readyz")
    if answer.json()["state"] == "failed":
        raise SystemExit(f"error: the start failed\n{log.read_text()[-3000:]}")
    return answer.status_code == 200


def connects(port: int) -> bool:
    with socket.create_connection(("127.0.0.1", port), timeout=5):
        return True


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# --- the table ------------------------------------------------------------------------------------


def show(cases: list[Case], options: argparse.Namespace) -> None:
    print(
        f"{options.gpu or options.model} behind {options.mbit:g} Mbit/s, {os.cpu_count()} cores;",
        "seconds from the command",
    )
    print(
        "| start | MB | floor | port | page | ready | above floor | clip | download | imports | overlapped |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for each in cases:
        cells = [each.case, f"{each.bytes / 1e6:.1f}", each.floor, each.port, each.page, each.ready]
        cells += [
            round(each.ready - each.floor, 2),
            each.first_clip,
            each.download,
            each.imports,
            each.overlapped,
        ]
        print("| " + " | ".join("" if cell is None else str(cell) for cell in cells) + " |")
    told = {
        "model": options.gpu or options.model,
        "mbit": options.mbit,
        "goals": GOALS if options.gpu else None,
    }
    print(json.dumps({**told, "cases": [asdict(each) for each in cases]}))


if __name__ == "__main__":
    main()
