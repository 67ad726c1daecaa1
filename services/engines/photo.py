"""A photo file as the tensor that the models want."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bootstrap.errors import KitError


def read(path: Path, *, width: int, height: int) -> Tensor:
    """float32 [1, 3, height, width] in -1..1, on the CPU.

    Raises:
        KitError: the photo does not have the clip's size, which the worker gives it.
    """
    with Image.open(path) as photo:
        if photo.size != (width, height):
            raise KitError(
                f"the photo is {photo.width}x{photo.height}, the clip {width}x{height}",
                fix="fit the photo to the clip's size before it goes to the engine",
            )
        pixels = np.array(photo.convert("RGB"), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1.0
