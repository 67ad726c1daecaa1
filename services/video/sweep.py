"""Clips that differ in one number, side by side with their labels: one video, or one sheet of stills."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap.errors import KitError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

MOST_VALUES = 25
WIDEST = 1920  # pixels across a grid: cells are made smaller to fit
STILLS = 5  # pictures of each clip on a sheet
GAP = 4
GROUND, INK = (24, 24, 27), (250, 250, 250)
NUMBER = r"-?\d+(?:\.\d+)?"


@dataclass(frozen=True)
class Cell:
    label: str
    clip: Path


def values(text: str) -> list[float]:
    """``"80:180:20"`` to 80, 100 ... 180; ``"60,127,180"`` to itself. Whole numbers stay whole.

    Raises:
        KitError: neither of the two, no value, or too many.
    """
    if re.fullmatch(f"{NUMBER}(,{NUMBER})*", text):
        found = [float(part) for part in text.split(",")]
    elif re.fullmatch(f"{NUMBER}:{NUMBER}:{NUMBER}", text):
        start, stop, step = (float(part) for part in text.split(":"))
        count = math.floor((stop - start) / step + 1e-9) + 1 if step else 0
        found = [round(start + number * step, 6) for number in range(min(count, MOST_VALUES + 1))]
    else:
        raise KitError(
            f"{text!r} is no range", fix="write FROM:TO:STEP, as in 80:180:20, or values with commas"
        )
    if not 0 < len(found) <= MOST_VALUES:
        raise KitError(
            f"{text} is {len(found) or 'no'}{'' if len(found) <= MOST_VALUES else ' values or more'}",
            fix=f"choose 1 to {MOST_VALUES} values",
        )
    return [int(value) if value == int(value) else value for value in found]


def grid(cells: Sequence[Cell]) -> Iterator[NDArray[np.uint8]]:
    """Frames of one video in which all clips play at once; a shorter clip holds its last frame."""
    import numpy as np

    clips = [list(frames(cell.clip)) for cell in cells]
    columns = math.ceil(math.sqrt(len(cells)))
    width, height = _cell_size(clips[0][0].shape[1], clips[0][0].shape[0], columns)
    for number in range(max(len(clip) for clip in clips)):
        pictures = [_picture(clip[min(number, len(clip) - 1)], width, height) for clip in clips]
        labelled = [_labelled(picture, cell.label) for picture, cell in zip(pictures, cells, strict=True)]
        yield np.asarray(_tiled(labelled, columns))


def sheet(cells: Sequence[Cell]) -> Image:
    """A row for each clip, with stills from its first frame to its last."""
    pictures = []
    for cell in cells:
        clip = list(frames(cell.clip))
        width, height = _cell_size(clip[0].shape[1], clip[0].shape[0], STILLS)
        for still in range(STILLS):
            picture = _picture(clip[round(still * (len(clip) - 1) / (STILLS - 1))], width, height)
            pictures.append(picture if still else _labelled(picture, cell.label))
    return _tiled(pictures, STILLS)


def frames(clip: Path) -> Iterator[NDArray[np.uint8]]:
    """The frames of a video, RGB [height, width, 3]."""
    import av  # loads FFmpeg's libraries: only when a clip is opened
    import numpy as np

    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)


def _cell_size(width: int, height: int, columns: int) -> tuple[int, int]:
    shrink = min(1.0, (WIDEST - GAP * (columns - 1)) / columns / width)
    return max(2, round(width * shrink)), max(2, round(height * shrink))


def _picture(frame: NDArray[np.uint8], width: int, height: int) -> Image:
    from PIL import Image as images

    picture = images.fromarray(frame)
    return (
        picture
        if picture.size == (width, height)
        else picture.resize((width, height), images.Resampling.LANCZOS)
    )


def _labelled(picture: Image, label: str) -> Image:
    from PIL import ImageDraw, ImageFont

    draw = ImageDraw.Draw(picture)
    font = ImageFont.load_default(size=max(11, picture.height // 14))
    left, top, right, bottom = draw.textbbox((0, 0), label, font=font)
    margin = (bottom - top) // 2
    draw.rectangle((0, 0, right - left + 2 * margin, bottom - top + 2 * margin), fill=GROUND)
    draw.text((margin - left, margin - top), label, font=font, fill=INK)
    return picture


def _tiled(pictures: Sequence[Image], columns: int) -> Image:
    """Even in both directions, as H.264 needs it."""
    from PIL import Image as images

    width, height = pictures[0].size
    rows = math.ceil(len(pictures) / columns)
    size = (columns * (width + GAP) - GAP, rows * (height + GAP) - GAP)
    whole = images.new("RGB", (size[0] + size[0] % 2, size[1] + size[1] % 2), GROUND)
    for number, picture in enumerate(pictures):
        whole.paste(picture, (number % columns * (width + GAP), number // columns * (height + GAP)))
    return whole
