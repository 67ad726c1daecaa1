"""Pictures of a finished clip, made when first asked for and kept beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from bootstrap import files

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

Variant = Literal["thumbnail", "spritesheet"]
NAMES: dict[Variant, str] = {"thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}
FORMATS = {".webp": "WEBP", ".jpg": "JPEG"}
THUMBNAIL_SIDE = 512
TILE_WIDTH = 192
COLUMNS = 5
MOST_TILES = 25


class Damaged(Exception):
    """The clip cannot be read."""


class Stills:
    """One picture is made at a time: a front has work beside it, and the same picture is made once."""

    def __init__(self) -> None:
        self._making = CapacityLimiter(1)

    async def picture(self, variant: Variant, clip: Path) -> Path:
        """The picture's file. Raises ``Damaged``, or ``FileNotFoundError`` when the clip is removed."""
        target = clip.with_name(NAMES[variant])
        if not await run_sync(target.is_file):
            await run_sync(make, variant, clip, target, limiter=self._making)
        return target


def make(variant: Variant, clip: Path, target: Path) -> None:
    """The middle frame, or frames spread over the clip, by rows."""
    if target.is_file():
        return
    import av  # only here: the front starts without it

    try:
        picture = _thumbnail(clip) if variant == "thumbnail" else _sheet(clip)
    except (av.FFmpegError, LookupError, ValueError) as error:
        if not clip.is_file():
            raise FileNotFoundError(clip.name) from None
        raise Damaged(str(error)) from error
    with files.replacing(target) as part:
        picture.save(part, FORMATS[target.suffix], quality=85)


def _thumbnail(clip: Path) -> Image:
    return next(_frames(clip, 1, THUMBNAIL_SIDE))


def _sheet(clip: Path) -> Image:
    from PIL import Image as images

    sheet: Image | None = None
    count = 0
    for place, tile in enumerate(_frames(clip, MOST_TILES, TILE_WIDTH, by_width=True)):
        if sheet is None:
            sheet = images.new("RGB", (tile.width * COLUMNS, tile.height * (MOST_TILES // COLUMNS)))
        sheet.paste(tile, (place % COLUMNS * tile.width, place // COLUMNS * tile.height))
        count, size = place + 1, tile.size
    if sheet is None:
        raise LookupError("it has no frames")
    return sheet.crop((0, 0, size[0] * min(COLUMNS, count), size[1] * math.ceil(count / COLUMNS)))


def _frames(clip: Path, most: int, side: int, *, by_width: bool = False) -> Iterator[Image]:
    """At most ``most`` frames, evenly spread, each made small as it comes; a single one is the middle.

    ``side``: pixels of the width, or of the longer side of what is larger.
    """
    import av

    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # the cores are others'
        total = stream.frames or sum(1 for _ in container.decode(stream))
        container.seek(0)
        count = min(most, total)
        wanted = [int((place + 0.5) * total / count) for place in range(count)]
        for number, frame in enumerate(container.decode(stream)):
            if number == wanted[0]:
                yield _small(
                    frame, side / (frame.width if by_width else max(frame.width, frame.height, side))
                )
                wanted.pop(0)
            if not wanted:
                return
    if count == most == 1:
        raise LookupError("it has no frame in the middle")


def _small(frame: VideoFrame, factor: float) -> Image:
    from PIL import Image as images

    width, height = (max(round(each * factor), 1) for each in (frame.width, frame.height))
    small = frame.reformat(width=width, height=height, format="rgb24", interpolation="AREA")
    return images.fromarray(small.to_ndarray())
