"""Download and verify against the peers, with the same bytes, caps and cores: ``make bench-download``.

Starts nginx in a network namespace of its own, caps the link with ``tc tbf`` and each connection with
nginx's ``limit_rate``, lets each client fetch and hash everything in turn, and prints a table and one line
of JSON. Needs root for the caps (without it only the uncapped case runs), nginx, aria2c and curl, and for
the cases with latency Debian's libnginx-mod-http-lua. ``--quick`` takes an eighth of the bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

from download_race import clients, link, server
from download_race.case import MIB, SETS, Case, cases

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # for the client in a child

PEERS = ("hf", "hf_transfer", "aria2c", "curl")
Result = dict[str, float]


def main() -> None:
    arguments = _arguments()
    if arguments.client:
        clients.run(arguments.client, Path(arguments.spec), Path(arguments.place))
        return
    if not arguments.inside and os.geteuid() == 0:
        link.enter("--inside")
    if arguments.inside:
        link.bring_up()
    else:
        print("not root: the link cannot be capped, only the uncapped cases run")
    memory = Path("/dev/shm")  # noqa: S108 (a disk would be what is measured)
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as made:
        folder = Path(made)
        folder.chmod(0o755)
        certificate(folder)
        compare(folder, arguments)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="an eighth of the bytes")
    parser.add_argument("--runs", type=int, default=1, help="of each client in each case; the best counts")
    parser.add_argument("--case", help="only cases whose name holds this, e.g. '4 Gbit/s'")
    parser.add_argument("--clients", default=",".join(clients.CLIENTS), help="only these")
    for hidden in ("--client", "--spec", "--place"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    late = server.can_be_late()
    if not late:
        print("without libnginx-mod-http-lua: the cases with latency are left out")
    chosen = cases(capped=arguments.inside, late=late, only=arguments.case)
    scale = 1 / 8 if arguments.quick else 1.0
    names = arguments.clients.split(",")
    hash_rate = hash_bytes_per_second()
    cores = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    print(f"sha256 {hash_rate / 1e9:.2f} GB/s a core, {cores} cores, load {load:.1f}, scale {scale:g}")
    print(f"{'case':<42}{'floor':>7}  " + "".join(f"{name:>22}" for name in names))
    print(f"{'':<42}{'s':>7}  " + "".join(f"{'s / x floor / cpu s/GiB':>22}" for _ in names))
    hub = ThreadingHTTPServer(("127.0.0.1", server.HUB_PORT), server.Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    results = []
    for files in dict.fromkeys(case.files for case in chosen):
        place = folder / "files"
        place.mkdir()
        about = make_files(place, SETS[files], scale)
        total = sum(file["bytes"] for file in about.values())
        for case in (case for case in chosen if case.files == files):
            seen = run_case(case, about, folder, names, arguments.runs)
            floor = max(total / (hash_rate * cores), total / (case.gbit * 125e6) if case.gbit else 0.0)
            results.append(show(case, seen, floor, total))
        shutil.rmtree(place)
    print(json.dumps({"cases": results}))


def run_case(
    case: Case, about: dict[str, Any], folder: Path, names: list[str], runs: int
) -> dict[str, Result | None]:
    """Each client's best run; None for one that fails."""
    storage = f"{'https' if case.tls else 'http'}://127.0.0.1:{server.STORAGE_PORT}"
    server.Hub.about, server.Hub.storage, server.Hub.latency_ms = about, storage, case.latency_ms
    spec = {
        "about": about,
        "storage": storage,
        "hub": f"http://127.0.0.1:{server.HUB_PORT}",
        "ca": str(folder / "c.pem") if case.tls else None,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    total = sum(file["bytes"] for file in about.values())
    with server.nginx(folder, folder / "files", case):
        link.cap(case.gbit)
        seen: dict[str, Result | None] = {}
        for name in names:
            found = [measure(name, spec, folder, total) for _ in range(runs)]
            good = [each for each in found if each is not None]
            seen[name] = min(good, key=lambda each: each["seconds"]) if good else None
        link.cap(None)
    return seen


def measure(name: str, spec: dict[str, Any], folder: Path, total: int) -> Result | None:
    """Seconds, and seconds of processor time, of one client in a process of its own."""
    warm_memory(total)
    place = Path(tempfile.mkdtemp(dir=folder))
    env = {**os.environ, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if spec["ca"]:
        env |= {"SSL_CERT_FILE": spec["ca"], "REQUESTS_CA_BUNDLE": spec["ca"]}
    child = ["--client", name, "--spec", str(folder / "spec.json"), "--place", str(place)]
    try:
        command = [sys.executable, __file__, *child]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=300)
    except subprocess.TimeoutExpired:
        print(f"  {name} took more than 300 s", file=sys.stderr)
        return None
    finally:
        shutil.rmtree(place)
    if done.returncode:
        print(f"  {name} failed: {done.stderr[-300:]}", file=sys.stderr)
        return None
    result: Result = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def show(case: Case, seen: dict[str, Result | None], floor: float, total: int) -> dict[str, Any]:
    cells = []
    for each in seen.values():
        if each is None:
            cells.append(f"{'failed':>22}")
        else:
            per_gib = each["cpu"] / (total / 1024**3)
            cells.append(f"{each['seconds']:9.2f} {each['seconds'] / floor:5.2f}x {per_gib:5.2f}")
    print(f"{case.name:<42}{floor:7.2f}  " + "".join(f"{cell:>22}" for cell in cells), flush=True)
    ours = seen.get("kinokit")
    peers = {name: result["seconds"] for name in PEERS if (result := seen.get(name)) is not None}
    best = min(peers, key=lambda name: peers[name]) if peers else None
    return {
        "case": case.name,
        "ours_over_floor": round(ours["seconds"] / floor, 3) if ours else None,
        "best_peer": best,
        "best_peer_over_ours": round(peers[best] / ours["seconds"], 3) if best and ours else None,
    }


def hash_bytes_per_second() -> float:
    """What one core hashes: the best of five."""
    block = bytearray(64 * MIB)
    best = 0.0
    for _ in range(5):
        began = time.monotonic()
        hashlib.sha256(block)
        best = max(best, len(block) / (time.monotonic() - began))
    return best


def make_files(folder: Path, sizes: list[int], scale: float) -> dict[str, dict[str, Any]]:
    """Random files of so many MiB, with their bytes and sha256."""
    about = {}
    for number, size in enumerate(sizes):
        name, count = f"{number:02}.safetensors", int(size * MIB * scale)
        hasher, left = hashlib.sha256(), count
        with (folder / name).open("wb") as file:
            while left:
                block = os.urandom(min(left, 16 * MIB))
                hasher.update(block)
                file.write(block)
                left -= len(block)
        about[name] = {"bytes": count, "sha256": hasher.hexdigest()}
    return about


def warm_memory(count: int) -> None:
    """Touch and free as much memory as will be written.

    A virtual machine gives free memory back to its host; the first touch of a page then costs more than
    receiving it, and would be what is measured.
    """
    touch = (
        f"import mmap; m = mmap.mmap(-1, {count}); [m.write(bytes(1 << 24)) for _ in range({count} >> 24)]"
    )
    subprocess.run([sys.executable, "-c", touch], check=True)


def certificate(folder: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bench"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "c.key"), "-out", str(folder / "c.pem")]
    subprocess.run([*command, *names, *files], check=True, capture_output=True)


if __name__ == "__main__":
    main()
