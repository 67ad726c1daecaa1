"""Measures what goes wrong with downloads: `make bench-faults`, or ARGS="--mib 256 --only kill link".

A file from the tests' hub behind 60 MB/s, with one fault each time: how it ends, how long it takes, and how
many bytes come twice (bodies that the server sent, beyond the file's own size). The last line is one JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from bootstrap import fetch
from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError
from bootstrap.fetch import external
from tests import hub
from tests.hub import Hub, Repo, answers

HERE = Path(__file__).parents[1]
MIB = 1024**2
LINK, EACH = 60e6, 12e6  # bytes a second of all connections, and of each
PATH, REPO = "weights/model.safetensors", "bench/faults"
KEPT = "right"  # the outcome that is hoped for


@dataclass(frozen=True)
class Row:
    fault: str
    outcome: str
    seconds: float
    twice_mib: float


class Bench:
    """One file on one hub, and an empty folder to fetch it into."""

    def __init__(self, server: Hub, data: bytes, folder: Path, downloader: str) -> None:
        self.server, self.data, self.folder = server, data, folder
        self.downloader = downloader
        self.repo: Repo = server.add(REPO, {PATH: data})
        self.sha256 = self.repo.sha256(PATH)
        self.before = 0  # bytes sent until the fault began
        server.link_bytes_per_second, server.bytes_per_second = LINK, EACH

    def manifest(self) -> Manifest:
        return Manifest.model_validate(
            {
                "name": "faults",
                "title": "Faults",
                "summary": "A file",
                "family": "svd",
                "inputs": ["image"],
                "licence": {"id": "apache-2.0", "url": "https://example.org/licence"},
                "source": {"repo": REPO, "revision": self.repo.revision},
                "files": [{"path": PATH, "bytes": len(self.data), "sha256": self.sha256}],
                "components": {"unet": PATH},
                "limits": {},
                "profiles": [{"name": "only", "title": "Only", "needs": {"device": "cpu"}}],
            }
        )

    def fetch(self) -> str:
        """The outcome, in words."""
        try:
            found = fetch.fetch(
                self.manifest(),
                store=self.folder,
                token=None,
                endpoint=self.server.endpoint,
                downloader=self.downloader,
                report=lambda _: None,
            )
        except KitError as error:
            return f"error: {shortened(error.problem)}"
        return KEPT if found[PATH].read_bytes() == self.data else "WRONG BYTES"

    def half(self, then: Callable[[], Any]) -> None:
        """Do something, from a thread, when half of the file has been sent."""

        def wait() -> None:
            while self.server.bytes_sent(PATH) < len(self.data) // 2:
                time.sleep(0.01)
            then()

        threading.Thread(target=wait, daemon=True).start()


# --- the faults -----------------------------------------------------------------------------------


def nothing(bench: Bench) -> str:
    return bench.fetch()


def killed(bench: Bench) -> str:
    manifest = bench.folder.with_suffix(".json")
    manifest.write_text(bench.manifest().model_dump_json())
    command = [sys.executable, "-m", "tests.bootstrap.fetch.one_fetch", str(manifest), str(bench.folder)]
    first = subprocess.Popen([*command, bench.server.endpoint, "8", bench.downloader], cwd=HERE)
    bench.half(lambda: first.send_signal(signal.SIGKILL))
    first.wait()
    return bench.fetch()


def link_cut(bench: Bench) -> str:
    def cut() -> None:
        bench.server.link_is_up.clear()
        time.sleep(30)
        bench.server.link_is_up.set()

    bench.half(cut)
    return bench.fetch()


def server_restarts(bench: Bench) -> str:
    def restart() -> None:
        bench.server.stop()
        time.sleep(3)
        bench.server.start()

    bench.half(restart)
    return bench.fetch()


def changes(bench: Bench) -> str:
    bench.half(lambda: bench.server.repos[REPO].files.update({PATH: bench.data[::-1]}))
    return bench.fetch()


def ignores_range(bench: Bench) -> str:
    bench.server.fault("ignore_range", where="both", times=None)
    bench.server.bytes_per_second = None
    return bench.fetch()


def slowloris(bench: Bench) -> str:
    bench.server.fault("slow", PATH, rate=100, times=4)
    return bench.fetch()


def stalls(bench: Bench) -> str:
    bench.server.fault("stall", PATH, at=2 * MIB, times=2)
    return bench.fetch()


def cut_short(bench: Bench) -> str:
    bench.server.fault("cut", PATH, at=1 * MIB, times=4)
    return bench.fetch()


def wrong_length(bench: Bench) -> str:
    bench.server.fault("wrong_length", PATH, at=100, times=2)
    return bench.fetch()


def gzipped(bench: Bench) -> str:
    answers.zipped(bench.data)
    bench.server.fault("gzip", where="both", times=None)
    bench.server.bytes_per_second = None
    return bench.fetch()


def expired(bench: Bench) -> str:
    bench.half(bench.server.expire_signatures)
    return bench.fetch()


def clock_skewed(bench: Bench) -> str:
    """The box is a day behind the hub, and each address ends at a moment of the hub's clock."""
    bench.server.clock_ahead_seconds, bench.server.signs_until = 86400.0, True
    bench.server.signature_seconds = 1
    return bench.fetch()


def flipped(bench: Bench) -> str:
    bench.server.fault("flip", PATH, at=len(bench.data) // 2)
    return bench.fetch()


def flipped_again(bench: Bench) -> str:
    """The second download of a file: the digests of its pieces are known from the first."""
    bench.fetch()
    (fetch.home(bench.manifest(), store=bench.folder) / PATH).unlink()
    bench.before = bench.server.bytes_sent(PATH)
    return flipped(bench)


def busy(bench: Bench) -> str:
    bench.server.fault("status", PATH, status=429, headers={"Retry-After": "2"}, times=4)
    return bench.fetch()


FAULTS: dict[str, Callable[[Bench], str]] = {
    "nothing goes wrong": nothing,
    "kill -9 at half, started again": killed,
    "link cut for 30 s, nothing passes": link_cut,
    "server restarts, 3 s away": server_restarts,
    "file changes midway": changes,
    "proxy ignores Range": ignores_range,
    "slowloris: 4 answers at 100 B/s": slowloris,
    "2 connections stand still after 2 MiB": stalls,
    "4 answers cut after 1 MiB": cut_short,
    "wrong Content-Length, twice": wrong_length,
    "proxy compresses (gzip), no ranges": gzipped,
    "signed addresses expire at half": expired,
    "clock a day off, addresses end after 1 s": clock_skewed,
    "one byte flipped": flipped,
    "one byte flipped, digests of pieces known": flipped_again,
    "429 with Retry-After: 2, 4 times": busy,
}


def shortened(problem: str) -> str:
    """Without what differs from run to run."""
    return re.sub(r"([0-9a-f]{8})[0-9a-f]{56}", r"\1…", re.sub(r" from [\d.:]+", "", problem))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=128, help="size of the file")
    parser.add_argument("--only", nargs="*", default=[""], help="faults whose name holds one of these words")
    parser.add_argument("--downloader", default="kinokit", choices=("kinokit", *external.NAMES))
    options = parser.parse_args()
    data = random.Random(1).randbytes(options.mib * MIB)  # noqa: S311 - the same at each run
    rows = [
        measure(name, fault, data, options.downloader)
        for name, fault in FAULTS.items()
        if any(word in name for word in options.only)
    ]
    print(f"{options.mib} MiB behind {LINK / 1e6:g} MB/s by {options.downloader}, {os.cpu_count()} cores")
    print("| fault | outcome | seconds | MiB fetched twice |")
    print("|---|---|---|---|")
    for row in rows:
        print(f"| {row.fault} | {row.outcome} | {row.seconds:.1f} | {row.twice_mib:.1f} |")
    print(
        json.dumps({"mib": options.mib, "downloader": options.downloader, "faults": list(map(asdict, rows))})
    )


def measure(name: str, fault: Callable[[Bench], str], data: bytes, downloader: str) -> Row:
    with tempfile.TemporaryDirectory(prefix="kinokit-faults-") as folder, hub.serve() as server:
        bench = Bench(server, data, Path(folder) / "models", downloader)
        began = time.monotonic()
        outcome = fault(bench)
        seconds = time.monotonic() - began
        twice = server.bytes_sent(PATH) - bench.before - len(data)
    print(f"  {name}: {outcome}, {seconds:.1f} s", file=sys.stderr, flush=True)
    return Row(name, outcome, round(seconds, 2), round(max(0, twice) / MIB, 2))


if __name__ == "__main__":
    main()
