"""Kills processes of a working kit at random moments and counts what was lost: `make bench-crash`.

ARGS="--seeds 1 2 3 --signal TERM --jobs 60 --kills 30"; ``--faults`` makes the table of single accidents. It
prints Markdown for docs/reliability.md. Everything is real but the model: `kinokit up`, its front, worker and
GPU child; clips are asked for with an Idempotency-Key that is sent again until it is accepted.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from crash_bench import crashes, faults
from crash_bench.light_kit import LightKit

from bootstrap.launch import listener


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--signal", choices=("KILL", "TERM"), nargs="+", default=["KILL"])
    parser.add_argument("--jobs", type=int, default=60)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--faults", action="store_true", help="the table of single accidents instead")
    given = parser.parse_args()
    if given.faults:
        with _kit(stall_seconds=str(faults.STALL_SECONDS)) as kit:
            print(faults.HEAD, *faults.run(kit), sep="\n", flush=True)
        return
    print(crashes.HEAD, flush=True)
    for name in given.signal:
        for seed in given.seeds:
            number = signal.Signals[f"SIG{name}"]
            with _kit(max_queued="1000") as kit:
                row = crashes.run(kit, jobs=given.jobs, kills=given.kills, number=number, seed=seed)
                print(row, flush=True)


@contextmanager
def _kit(**settings: str) -> Iterator[LightKit]:
    with listener.listen("127.0.0.1", 0) as probe:
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        kit = LightKit(Path(folder), port, **settings)
        try:
            yield kit
        except BaseException:
            print((Path(folder) / "up.log").read_text()[-3000:], file=sys.stderr)
            raise
        finally:
            kit.down()


if __name__ == "__main__":
    main()
