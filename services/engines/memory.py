"""Memory at an engine's edges: frames that leave the GPU, and the error when there is not enough."""

from __future__ import annotations

import gc
import re
import resource
import sys
from typing import Any

import numpy as np
import psutil
import torch
from numpy.typing import NDArray
from torch import Tensor

from services.engines.base import OutOfMemory, is_out_of_memory

WANTED = re.compile(r"allocate ([0-9.]*[0-9]) (bytes|KiB|MiB|GiB|TiB)")
UNITS = {"bytes": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "TiB": 1024**4}
RSS_BYTES = 1 if sys.platform == "darwin" else 1024  # in which ru_maxrss counts


class HostCopy:
    """Frames on their way to host memory."""

    def __init__(self, frames: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        if not frames.is_cuda:
            self._host = frames
            return
        self._host = torch.empty(frames.shape, dtype=frames.dtype, pin_memory=True)
        self._host.copy_(frames, non_blocking=True)
        self._event = torch.cuda.Event()
        self._event.record()

    def __len__(self) -> int:
        return len(self._host)

    def wait(self) -> NDArray[np.uint8]:
        """uint8 [frames, height, width, 3], once they are there."""
        if self._event is not None:
            self._event.synchronize()
        frames: NDArray[np.uint8] = self._host.numpy()
        return frames


class OomAsError:
    """Turns an out-of-memory error of the GPU or the host into ``OutOfMemory``, and frees all of the job."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def __enter__(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if error is None or not is_out_of_memory(error):
            return
        message = str(error)
        peak_bytes, total_bytes = self._counted()
        link: BaseException | None = error
        while link is not None:
            link.__traceback__ = None  # its frames hold the tensors
            link = link.__context__
        del trace, link, error
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        raise OutOfMemory(
            f"the memory did not suffice: {message.splitlines()[0] if message else 'no more was given'}",
            wanted_bytes=_wanted_bytes(message),
            peak_bytes=peak_bytes,
            total_bytes=total_bytes,
        ) from None

    def _counted(self) -> tuple[int, int]:
        """The most that was in use, and all there is: of the GPU's memory, or of the host's."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device), torch.cuda.mem_get_info(self._device)[1]
        peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * RSS_BYTES
        return peak_bytes, psutil.virtual_memory().total


def _wanted_bytes(message: str) -> int | None:
    found = WANTED.search(message)
    return None if found is None else int(float(found[1]) * UNITS[found[2]])
