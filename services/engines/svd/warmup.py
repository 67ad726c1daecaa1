"""A default clip ahead of the first one, beside the download or the loading.

On the meta device the clip has shapes and no numbers: each of our kernels is compiled, or found compiled on
the data volume, exactly as the real clip will ask for it. A step of zeros on the GPU then has the libraries
load theirs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import torch

from bootstrap.choose.plan import Plan
from services.engines.base import Start
from services.engines.kernels import dispatch
from services.engines.start.files import Arriving
from services.engines.svd import checkpoint
from services.engines.svd.engine import SvdEngine, dtype_on
from services.engines.svd.settings import Settings
from services.parameters.values import Values

META = torch.device("meta")
# Weights twice, the real ones too, and the 15 GiB of a step of 25 frames of 1024x576.
STEP_BYTES = 28 * 1024**3
COMPILERS = 8  # more wait for Python's lock


def begin(plan: Plan, start: Start) -> None:
    """Beside all else, on a GPU."""
    if not dispatch.has_kernels(torch.device(plan.device)):
        return
    start.background.do("compile the kernels", lambda: compile_kernels(plan), room_bytes=0)
    if Settings.of(plan).offload == "none":
        device = torch.device(plan.device)
        start.background.do("warm the libraries up", lambda: run(plan, device), room_bytes=STEP_BYTES)


def compile_kernels(plan: Plan) -> None:
    """All that clips of the default size need, of every length; takes no memory of the GPU."""
    with _side_by_side():
        run(plan, META, *plan.limits.frames)


@torch.inference_mode()
def run(plan: Plan, device: torch.device, *lengths: int) -> None:
    """A step and the decoding of a clip of the defaults and of others of ``lengths``, all weights zeros."""
    arriving = Arriving(plan.arrivals, Start(_ignore))
    dtype = dtype_on(torch.device(plan.device))
    parts = checkpoint.zeros(plan.components["pipeline"], device, dtype, arriving)
    engine = SvdEngine(parts, device, replace(Settings.of(plan), offload="none"))
    values = values_of(plan)
    photo = torch.zeros(1, 3, values.height, values.width)
    for frames in dict.fromkeys((values.num_frames, *lengths)):
        latents = engine.sample(replace(values, num_frames=frames), photo, _ignore, _never)
        for _ in engine.pixels(latents, values.decode_chunk_size, _never):
            """Only for its work."""


def values_of(plan: Plan) -> Values:
    """The defaults of the model, with a single step: the others do the same."""
    width, height = map(int, plan.defaults["size"].split("x"))
    return Values.of({**plan.defaults, "width": width, "height": height, "seed": 0, "num_inference_steps": 1})


@contextmanager
def _side_by_side() -> Iterator[None]:
    """Inside, kernels are compiled in threads; at the end all are ready. Old Tritons do it one by one."""
    import triton  # only CUDA builds of PyTorch bring it

    if not hasattr(triton, "AsyncCompileMode"):
        yield
        return
    threads = min(COMPILERS, os.cpu_count() or 1)
    with ThreadPoolExecutor(threads, "compile") as pool, triton.AsyncCompileMode(pool):
        yield


def _ignore(stage: str, done: int, total: int) -> None:
    """Nobody watches."""


def _never() -> bool:
    return False
