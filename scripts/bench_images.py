"""Thin or fat: pull, start and ready of two images behind a capped link: `make bench-images`.

Thin is the base image, which installs torch and the rest beside the weights; fat is `api`, which has them.
Both are the tests' own images for the CPU, with the demo model. A Docker engine of its own pulls, so that no
image lies here already. Needs root, Debian's docker.io and docker-registry, iproute2. ARGS="--mbit 1000 200".
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.images import bases, engine
from tests.images.engine import Engine

SPACE, HERE_SIDE, FAR_SIDE = "kinokit-far", "kinokit-here", "kinokit-far0"
HERE, FAR = "10.99.77.1", "10.99.77.2"
REGISTRY, WHEELS = f"{FAR}:5000", f"http://{FAR}:5001/"
PORT = 18765
READY_SECONDS = 600.0
THIN, GPU, FAT = "kinokit-base:test", "kinokit-gpu:test", "kinokit-api:test"
STORAGE = """version: 0.1
storage: {{filesystem: {{rootdirectory: {folder}}}}}
http: {{addr: "{address}"}}
"""


@dataclass(frozen=True)
class Row:
    """Seconds from the order to pull."""

    image: str
    mbit: float
    compressed_mb: float
    pulled: float
    port: float
    page: float
    ready: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mbit", type=float, nargs="+", default=[1000.0], help="of the link, each in turn")
    parser.add_argument("--registry", default="docker-registry", help="the registry's program")
    parser.add_argument("--thin", default=THIN, help="a tag; built when the tests' engine does not have it")
    parser.add_argument("--fat", default=FAT, help="likewise")
    parser.add_argument(
        "--folder", type=Path, help="where the engine keeps its images; the system's for such"
    )
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which(options.registry) is None:
        raise SystemExit("error: needs root and a registry\n  fix: apt-get install docker.io docker-registry")
    with ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="kinokit-images-", dir=options.folder)
        folder = Path(stack.enter_context(made))
        stack.enter_context(far_away())
        stack.enter_context(serving(options.registry, folder / "registry"))
        pulling = stack.enter_context(private_engine(folder / "docker"))
        images = {"thin": options.thin, "fat": options.fat}
        sizes = publish(pulling, images)
        rows = []
        for mbit in options.mbit:
            cap(mbit)
            for name in images:
                rows.append(measure(pulling, name, mbit, sizes[name]))
                print(f"  {rows[-1]}", file=sys.stderr, flush=True)
    print(f"{os.cpu_count()} cores; seconds from the order to pull")
    print("| image | link | compressed | pulled | port | page | ready |")
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        print(
            f"| {row.image} | {row.mbit:g} Mbit/s | {row.compressed_mb:.0f} MB |"
            f" {row.pulled} | {row.port} | {row.page} | {row.ready} |"
        )
    print(json.dumps({"images": list(map(asdict, rows))}))


# --- a registry and an index behind a link ----------------------------------------------------------


@contextmanager
def far_away() -> Iterator[None]:
    """A network namespace, reached over a pair of devices whose far end can be capped."""
    far = ["ip", "-n", SPACE]
    subprocess.run(["ip", "netns", "add", SPACE], check=True)
    try:
        for command in (
            ["ip", "link", "add", HERE_SIDE, "type", "veth", "peer", "name", FAR_SIDE, "netns", SPACE],
            ["ip", "addr", "add", f"{HERE}/30", "dev", HERE_SIDE],
            ["ip", "link", "set", HERE_SIDE, "up"],
            [*far, "addr", "add", f"{FAR}/30", "dev", FAR_SIDE],
            [*far, "link", "set", FAR_SIDE, "up"],
            [*far, "link", "set", "lo", "up"],
        ):
            subprocess.run(command, check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "del", SPACE], check=True)


def cap(mbit: float) -> None:
    """Let so much come from the far side."""
    tc = ["tc", "-n", SPACE, "qdisc"]
    subprocess.run([*tc, "del", "dev", FAR_SIDE, "root"], capture_output=True)
    rate = ["rate", f"{mbit:.0f}mbit", "burst", "1mb", "latency", "50ms"]
    subprocess.run([*tc, "add", "dev", FAR_SIDE, "root", "tbf", *rate], check=True)


@contextmanager
def serving(registry: str, folder: Path) -> Iterator[None]:
    """The registry, and the wheels of the CPU stack as a package index would have them."""
    folder.mkdir()
    config = folder / "config.yml"
    config.write_text(STORAGE.format(folder=folder, address=f"{FAR}:5000"))
    index = [sys.executable, "-m", "http.server", "--bind", FAR, "5001"]
    commands = [[registry, "serve", str(config)], [*index, "--directory", str(bases.wheel_folder())]]
    running = [
        subprocess.Popen(
            ["ip", "netns", "exec", SPACE, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for command in commands
    ]
    try:
        until(lambda: answers(f"http://{REGISTRY}/v2/") and answers(WHEELS), 20)
        yield
    finally:
        for each in running:
            each.terminate()
            each.wait()


# --- engines ----------------------------------------------------------------------------------------


@contextmanager
def private_engine(folder: Path) -> Iterator[Engine]:
    """An engine with nothing in it; containers use this machine's own network."""
    folder.mkdir()
    host = f"unix://{folder}/docker.sock"
    options = ("--data-root", "--exec-root", "--pidfile")
    places = [part for option in options for part in (option, str(folder / option.strip("-")))]
    network = ["--bridge=none", "--iptables=false", "--ip-masq=false", "--insecure-registry", REGISTRY]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(["dockerd", "-H", host, *places, *network], stdout=log, stderr=log)
    running = Engine(engine.client(), host)
    try:
        until(lambda: running.answers, 60)
        yield running
    finally:
        running.run("rm", "-f", "measured", check=False)
        daemon.terminate()
        daemon.wait(timeout=30)
        for line in Path("/proc/mounts").read_text().splitlines():  # it leaves its own behind
            if line.split()[1].startswith(f"{folder}/"):
                subprocess.run(["umount", line.split()[1]], check=True)


def publish(pulling: Engine, images: Mapping[str, str]) -> dict[str, float]:
    """The tests' images into the registry; their compressed MB there."""
    source = engine.start()
    try:
        for name, tag in images.items():
            if source.run("image", "inspect", tag, check=False).returncode:
                build(source)
            with subprocess.Popen(
                [source.docker, "save", tag], stdout=subprocess.PIPE, env=environment(source)
            ) as save:
                subprocess.run(
                    [pulling.docker, "load", "-q"], stdin=save.stdout, env=environment(pulling), check=True
                )
            pulling.run("tag", tag, f"{REGISTRY}/{name}")
            pulling.run("push", "-q", f"{REGISTRY}/{name}")
    finally:
        source.stop()
    return {name: compressed_mb(name) for name in images}


def build(source: Engine) -> None:
    wheels = bases.wheels(source)
    source.build("base", THIN, BASE_IMAGE=bases.debian(source), WHEELS=wheels)
    source.build("gpu", GPU, BASE=THIN, WHEELS=wheels, TORCH_REQUIREMENTS="torch-cpu.txt")
    source.build("api", FAT, BASE=GPU)


def environment(of: Engine) -> dict[str, str]:
    return os.environ | ({"DOCKER_HOST": of.host} if of.host else {})


def compressed_mb(name: str) -> float:
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    manifest = httpx.get(f"http://{REGISTRY}/v2/{name}/manifests/latest", headers={"Accept": kind}).json()
    return float(sum(layer["size"] for layer in manifest["layers"]) / 1e6)


# --- one start --------------------------------------------------------------------------------------


def measure(pulling: Engine, name: str, mbit: float, compressed: float) -> Row:
    pulling.run("rm", "-f", "measured", check=False)
    there = pulling.run("images", "-q").stdout.split()
    if there:
        pulling.run("rmi", "-f", *set(there))
    pulling.run("image", "prune", "-a", "-f")
    variables = {
        "PORT": PORT, "KINOKIT_MODEL": "demo", "KINOKIT_AS_ROOT": 1,
        "PIP_NO_INDEX": 1, "PIP_FIND_LINKS": WHEELS, "PIP_TRUSTED_HOST": FAR,
    }  # fmt: skip
    options = [part for key, value in variables.items() for part in ("-e", f"{key}={value}")]
    began = time.monotonic()
    pulling.run("pull", "-q", f"{REGISTRY}/{name}")
    pulled = time.monotonic() - began
    pulling.run("run", "-d", "--name", "measured", "--network=host", *options, f"{REGISTRY}/{name}")
    url = f"http://127.0.0.1:{PORT}"
    moments: dict[str, Callable[[], bool]] = {
        "port": lambda: connects(PORT),
        "page": lambda: answers(f"{url}/healthz"),
        "ready": lambda: answers(f"{url}/readyz"),
    }
    seen = {}
    for moment, has_come in moments.items():
        try:
            until(has_come, READY_SECONDS)
        except SystemExit:
            print(pulling.run("logs", "measured").stdout[-3000:], file=sys.stderr)
            raise
        seen[moment] = round(time.monotonic() - began, 1)
    pulling.run("rm", "-f", "measured")
    return Row(name, mbit, round(compressed, 1), round(pulled, 1), **seen)


def answers(url: str) -> bool:
    with suppress(httpx.HTTPError):
        return httpx.get(url, timeout=5).status_code == 200
    return False


def connects(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            raise SystemExit(f"error: not within {seconds:g} s")
        time.sleep(0.05)


if __name__ == "__main__":
    main()
