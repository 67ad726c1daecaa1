"""Pictures of a finished clip, made when first asked for and kept beside it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bootstrap import files

if TYPE_CHECKING:
    from av import VideoFrame
    from PIL.Image import Image

NAMES = {"thumbnail": "thumbnail.webp", "spritesheet": "spritesheet.jpg"}
FORMATS = {".webp": "WEBP", ".jpg": "JPEG"}
THUMBNAIL_SIDE = 512
TILE_WIDTH = 192
COLUMNS = 5
MOST_TILES = 25


def make(variant: Literal["thumbnail", "spritesheet"], clip: Path) -> Path:
    """The picture's file: the middle frame, or frames spread over the clip, by rows."""
    target = clip.with_name(NAMES[variant])
    if target.is_file():
        return target
    picture = _thumbnail(clip) if variant == "thumbnail" else _sheet(clip)
    with files.replacing(target) as part:
        picture.save(part, FORMATS[target.suffix], quality=85)
    return target


def _thumbnail(clip: Path) -> Image:
    picture = _frames(clip, 1)[0]
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return picture


def _sheet(clip: Path) -> Image:
    from PIL import Image as images

    tiles = _frames(clip, MOST_TILES)
    width = TILE_WIDTH
    height = max(round(tiles[0].height * width / tiles[0].width), 1)
    rows = math.ceil(len(tiles) / COLUMNS)
    sheet = images.new("RGB", (width * min(COLUMNS, len(tiles)), height * rows))
    for place, tile in enumerate(tiles):
        sheet.paste(tile.resize((width, height)), (place % COLUMNS * width, place // COLUMNS * height))
    return sheet


def _frames(clip: Path, most: int) -> list[Image]:
    """At most ``most`` frames, evenly spread; a single one is the middle."""
    import av  # only here: the front starts without it

    with av.open(str(clip)) as container:
        stream = container.streams.video[0]
        total = stream.frames or sum(1 for _ in container.decode(stream))
        container.seek(0)
        count = min(most, total)
        wanted = {int((place + 0.5) * total / count) for place in range(count)}
        return [_picture(frame) for number, frame in enumerate(container.decode(stream)) if number in wanted]


def _picture(frame: VideoFrame) -> Image:
    from PIL import Image as images

    return images.fromarray(frame.to_ndarray(format="rgb24"))
