# ruff: noqa: S108 - big files go to the temporary folder
"""Measures the Wan engine on a GPU: `python scripts/bench_wan.py clip process ...`, in that order.

Builds full-size files of random weights in the published layout (neither time nor memory depends on the
values), runs the engine on them, and prints each part against its floor. `--layers` makes smaller models of
the same width; with `--layers 1 --width 64 --height 64 --frames 5` all but `parts` can be tried on a CPU.

clip      load, warm clips, one to a file; `--comfy` for the other side of the table
process   the kit's GPU child from its start to its first file, out of memory and on
models    I2V, 5B and the exact profiles at full size
memory    each profile's peaks under a cap of its card's size; twenty clips in a row
accuracy  the error against plain diffusers in float32
parts     each kernel against its twin in torch and against its floor
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")  # as the kit's workers have it

from wan_bench import accuracy, clip, memory, parts, process
from wan_bench.record import guard

MEASURES = {
    "clip": clip.clip,
    "process": process.process,
    "models": clip.models,
    "memory": memory.memory,
    "accuracy": accuracy.accuracy,
    "parts": parts.parts,
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"of {', '.join(MEASURES)}; clip where nothing is named")
    parser.add_argument("--folder", default="/tmp/wan-files")
    parser.add_argument("--layers", type=int, default=0, help="0: as many as the real model")
    parser.add_argument("--model", default="wan22", help="of clip and process")
    parser.add_argument("--profile", default="full", help="of the manifest, for clip and process")
    parser.add_argument("--times", type=int, default=3, help="warm clips")
    parser.add_argument("--width", type=int, help="instead of the model's own, as are height and frames")
    parser.add_argument("--height", type=int)
    parser.add_argument("--frames", type=int)
    parser.add_argument("--kernels", action="store_true", help="of clip: which take the time")
    parser.add_argument("--loading", action="store_true", help="of parts: page cache to GPU")
    parser.add_argument("--comfy", help="a ComfyUI checkout")
    parser.add_argument("--caps", type=int, nargs="*", help="of memory: only cards of these GiB")
    options = parser.parse_args()
    if unknown := set(options.what) - set(MEASURES):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEASURES)}")
    os.environ.setdefault("KINOKIT_KERNELS_DIR", str(Path(options.folder) / "kernels"))
    for what in options.what or ["clip"]:
        guard(what, lambda: MEASURES[what](options))  # noqa: B023 - called at once
        if options.comfy and what == "clip":
            clip.comfy(options)


if __name__ == "__main__":
    main()
