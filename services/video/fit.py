"""A photo of any shape becomes a photo of the clip's size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from bootstrap.errors import KitError
from services.video import photo as photos

if TYPE_CHECKING:
    from PIL.Image import Image

Fit = Literal["crop", "pad", "stretch"]
PAD_COLOUR = (0, 0, 0)


def photo(source: Path, target: Path, *, width: int, height: int, fit: Fit = "crop") -> None:
    """Write ``source`` as a PNG of exactly ``width`` x ``height`` to ``target``.

    Raises:
        KitError: the file is no readable image.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with photos.opened(source.read_bytes(), formats=(*photos.FORMATS, "TIFF", "BMP")) as opened:
            picture = photos.upright(opened)
    except (OSError, ValueError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise KitError(
            f"{source.name} is not a readable image: {error}", fix="give a PNG, JPEG or WebP photo"
        ) from error
    fitted(picture, width=width, height=height, fit=fit).save(target, format="PNG", compress_level=1)


def fitted(picture: Image, *, width: int, height: int, fit: Fit) -> Image:
    """``crop`` fills the clip and loses edges, ``pad`` keeps all and adds bars, ``stretch`` distorts."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    size = (width, height)
    if picture.size == size:
        return picture
    if fit == "crop":
        return ImageOps.fit(picture, size, Resampling.LANCZOS)
    if fit == "pad":
        return ImageOps.pad(picture, size, Resampling.LANCZOS, color=PAD_COLOUR)
    return picture.resize(size, Resampling.LANCZOS)


def warnings(size: tuple[int, int], *, width: int, height: int, fit: Fit) -> tuple[str, ...]:
    """What fitting costs, where it costs something."""
    found = []
    across, down = width / size[0], height / size[1]
    factor = min(across, down) if fit == "pad" else max(across, down)
    if factor > 1.25:
        found.append(
            f"the photo is {size[0]}x{size[1]} and was enlarged {factor:.1f} times for {width}x{height}: "
            "expect a soft clip; give a larger photo, or use the preset low-quality and a smaller size"
        )
    kept = min(across, down) / max(across, down)
    if kept < 0.75:
        loss = {
            "crop": f"{1 - kept:.0%} of the photo was cut off",
            "pad": f"{1 - kept:.0%} of the clip is bars",
            "stretch": f"the photo was distorted {1 / kept:.1f} times",
        }[fit]
        found.append(
            f"the photo's shape differs from {width}x{height}: {loss}; choose a size of the photo's shape"
        )
    return tuple(found)
