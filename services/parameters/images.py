"""Is this file an image that a worker may open? Its type is told by its content, never by its name."""

from __future__ import annotations

import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from services.parameters.error import RequestError
from services.video import photo

if TYPE_CHECKING:
    from PIL.Image import Image

PARAM = "input_reference"
MIB = 1024**2
MAX_BYTES = 25 * MIB
MEGAPIXELS = 50
MAX_PIXELS = MEGAPIXELS * 1024**2  # phones call 8192x6144 that; 210 MB once decoded
MIN_SIDE = 32
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif", "HEIF": ".heic"}

# What people send by mistake, by its first bytes: (offset, bytes, name)
OTHERS = (
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "an EPS drawing"),
    (0, b"BM", "a BMP"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypheic", "a broken iPhone photo (HEIC)"),
    (4, b"ftypheix", "a broken iPhone photo (HEIC)"),
    (4, b"ftypmif1", "a broken iPhone photo (HEIF)"),
    (4, b"ftyp", "a video"),
    (0, b"\x1aE\xdf\xa3", "a video"),
    (0, b"<svg", "an SVG drawing"),
    (0, b"<?xml", "XML text"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"PK\x03\x04", "a ZIP archive"),
)


@dataclass(frozen=True)
class Picture:
    """A checked image: its bytes as they came, and what is known of it."""

    data: bytes
    suffix: str  # with its dot
    width: int  # as a person sees it, upright
    height: int
    warnings: tuple[str, ...]


def check(data: bytes, *, max_bytes: int) -> Picture:
    """Decode it once, whole, so that nothing broken reaches a worker. Raises ``RequestError``."""
    if not data:
        raise empty()
    if len(data) > max_bytes:
        raise too_large(max_bytes)
    # Pillow costs 60 ms: the port answers before
    from PIL import Image, UnidentifiedImageError

    try:
        with python_warnings.catch_warnings():
            python_warnings.simplefilter("ignore")  # of broken metadata, and of sizes: our limit is lower
            with photo.opened(data) as image:
                return _look(image, data)
    except UnidentifiedImageError:
        raise _refuse(
            f"this is {_name(data)}, not an image that can be read",
            "send a JPEG, PNG, WebP, AVIF or HEIC",
            "image_type",
        ) from None
    except Image.DecompressionBombError as error:
        raise _bomb(str(error)) from None
    except photo.TooManyScans as error:
        raise _refuse(str(error), "open it on your side and save it again", "image_too_large") from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        MemoryError,
        RuntimeError,
    ) as error:  # what Pillow and libheif raise on broken files
        raise _refuse(
            f"the image is damaged or cut off: {error}",
            "open it on your side and save it again",
            "image_damaged",
        ) from None


def size(source: Path) -> tuple[int, int]:
    """Width and height of a checked image as a person sees it; reads the file's head alone."""
    with photo.opened(source.read_bytes()) as picture:
        return photo.size(picture)


def empty() -> RequestError:
    return _refuse("the image is empty: 0 bytes", "send the file itself", "image_empty")


def too_large(max_bytes: int) -> RequestError:
    return _refuse(
        f"the image is larger than {max_bytes / MIB:g} MiB",
        "make it smaller: clips are far below 4 megapixels",
        "image_too_large",
    )


def _look(image: Image, data: bytes) -> Picture:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _bomb(f"{width}x{height}")
    if min(width, height) < MIN_SIDE:
        raise _refuse(
            f"the image is {width}x{height}; each side needs at least {MIN_SIDE} pixels",
            "send a larger one",
            "image_too_small",
        )
    kind = image.format or ""
    image.load()  # raises when the file is cut off
    photo.colours(image)  # what a profile costs is spent here, too
    width, height = photo.size(image)
    return Picture(data, SUFFIXES[kind], width, height, tuple(_doubts(image)))


def _doubts(image: Image) -> list[str]:
    found = []
    if photo.frames(image) > 1:
        found.append("the image is animated: its first frame is used")
    if photo.alpha(image) is not None:
        found.append("the image has transparent parts: they become white")
    return found


def _name(data: bytes) -> str:
    start = data[:64].lstrip()
    for offset, magic, name in OTHERS:
        if start[offset : offset + len(magic)].lower() == magic.lower():
            return name
    if start.isascii() and not any(byte < 9 for byte in start):
        return "a text"
    return f"a file of {len(data)} bytes of an unknown kind"


def _bomb(what: str) -> RequestError:
    return _refuse(
        f"the image has too many pixels ({what}); at most {MEGAPIXELS} megapixels are taken",
        "make it smaller: clips are far below 4 megapixels",
        "image_too_large",
    )


def _refuse(problem: str, fix: str, code: str) -> RequestError:
    return RequestError(problem, fix=fix, param=PARAM, code=code)
