"""Is this file an image that a worker may open? Its type is told by its content, never by its name."""

from __future__ import annotations

import io
import warnings as python_warnings
from dataclasses import dataclass
from pathlib import Path

from services.parameters.error import RequestError

PARAM = "input_reference"
MIB = 1024**2
MAX_BYTES = 25 * MIB
MAX_PIXELS = 50_000_000  # 200 MB once decoded
MIN_SIDE = 32
ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap the sides
SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "WEBP": ".webp", "AVIF": ".avif"}
OPENED = ("JPEG", "PNG", "WEBP", "AVIF")  # an MPO opens as a JPEG; named here it would be a KeyError

# What people send by mistake, by its first bytes: (offset, bytes, name)
OTHERS = (
    (0, b"GIF8", "a GIF"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "an EPS drawing"),
    (0, b"BM", "a BMP"),
    (0, b"II*\0", "a TIFF"),
    (0, b"MM\0*", "a TIFF"),
    (4, b"ftypheic", "an iPhone photo (HEIC)"),
    (4, b"ftypheix", "an iPhone photo (HEIC)"),
    (4, b"ftypmif1", "an iPhone photo (HEIF)"),
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
            python_warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our limit is below its
            with Image.open(io.BytesIO(data), formats=OPENED) as image:
                return _look(image, data)
    except UnidentifiedImageError:
        raise _refuse(
            f"this is {_name(data)}, not an image that can be read",
            "send a JPEG, PNG, WebP or AVIF",
            "image_type",
        ) from None
    except Image.DecompressionBombError as error:
        raise _bomb(str(error)) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        MemoryError,
    ) as error:  # what Pillow raises on broken files
        raise _refuse(
            f"the image is damaged or cut off: {error}",
            "open it on your side and save it again",
            "image_damaged",
        ) from None


def size(source: Path) -> tuple[int, int]:
    """Width and height of a checked image as a person sees it; reads the file's head alone."""
    from PIL import Image

    with Image.open(source) as picture:
        width, height = picture.size
        return (height, width) if picture.getexif().get(ORIENTATION) in SIDEWAYS else (width, height)


def empty() -> RequestError:
    return _refuse("the image is empty: 0 bytes", "send the file itself", "image_empty")


def too_large(max_bytes: int) -> RequestError:
    return _refuse(
        f"the image is larger than {max_bytes / MIB:g} MiB",
        "make it smaller: clips are far below 4 megapixels",
        "image_too_large",
    )


def _look(image: object, data: bytes) -> Picture:
    from PIL.Image import Image

    assert isinstance(image, Image)
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
    warnings = list(_doubts(image))
    image.load()  # raises when the file is cut off
    if image.getexif().get(ORIENTATION) in SIDEWAYS:
        width, height = height, width
    return Picture(data, SUFFIXES[kind], width, height, tuple(warnings))


def _doubts(image: object) -> list[str]:
    from PIL.Image import Image

    assert isinstance(image, Image)
    found = []
    # An MPO is a photo with a second one, for depth or a preview: nothing moves.
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":
        found.append("the image is animated: its first frame is used")
    if image.has_transparency_data:
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
        f"the image has too many pixels ({what}); at most {MAX_PIXELS // 1_000_000} megapixels are taken",
        "make it smaller: clips are far below 4 megapixels",
        "image_too_large",
    )


def _refuse(problem: str, fix: str, code: str) -> RequestError:
    return RequestError(problem, fix=fix, param=PARAM, code=code)
