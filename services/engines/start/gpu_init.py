"""The part of a start that needs no weights: torch's import and the GPU's own start."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from services.engines.start.spans import Spans


@contextmanager
def initialised(device: str, spans: Spans) -> Iterator[None]:
    """Import torch; on "cuda" the GPU starts beside what is done inside, and has started at its end."""
    with spans.span("import torch"):
        import torch  # noqa: F401
    if device != "cuda":
        yield
        return
    thread = threading.Thread(target=_start_gpu, args=(spans,), name="start the GPU", daemon=True)
    thread.start()
    yield
    thread.join()


def _start_gpu(spans: Spans) -> None:
    """The context and the libraries' handles: seconds on a cold box. What fails here fails in ``load``."""
    import torch

    with suppress(Exception), spans.span("start the GPU"):
        square = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
        (square @ square).sum().item()  # cuBLAS's handle and workspace
        torch.nn.functional.conv2d(square[None, None], square[None, None, :3, :3])  # cuDNN's
        torch.empty(1024, pin_memory=True)  # the host allocator
        torch.cuda.synchronize()
