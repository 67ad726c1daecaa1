"""A photo's file: opened with care, and seen as people see it, upright and in sRGB.

What is not pixels or colour is left out before anything reads it: it never makes a photo unreadable.
"""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF")  # and HEIF, which a package of its own reads
MAX_SCANS = 100  # of a JPEG: cameras and editors write about ten, and each may cost as much as the photo
MAX_PROFILE_BYTES = 16 * 1024**2
ORIENTATION = 0x0112
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap the sides
BEHIND_ALPHA = (255, 255, 255)
PNG = b"\x89PNG\r\n\x1a\n"
JPEG = b"\xff\xd8\xff"
# Segments of a JPEG that are read: JFIF, Exif and XMP, colour profiles, Adobe's word on the colours.
READ_SEGMENTS = {0xE0: b"", 0xE1: b"", 0xE2: b"ICC_PROFILE\0", 0xEE: b"Adobe"}
PIXEL_CHUNKS = (b"tRNS", b"eXIf")  # of a PNG, beside those that every reader must know
NEXT_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
START_OF_SCAN, END_OF_IMAGE = 0xDA, 0xD9


class TooManyScans(ValueError):
    """A JPEG that is made to keep its reader busy."""


def opened(data: bytes, formats: tuple[str, ...] = FORMATS) -> Image:
    """The picture, not decoded yet. Raises what Pillow raises, and ``TooManyScans``."""
    from PIL import Image as images

    found: dict[str, Any] = {}
    if data.startswith(PNG):
        data, found = _png(data)
    elif data.startswith(JPEG):
        data = _jpeg(data)
    elif data[4:8] == b"ftyp" and data[8:12] not in (b"avif", b"avis"):
        formats = (*formats, "HEIF")
        import pillow_heif  # it costs 50 ms

        pillow_heif.register_heif_opener()
    picture = images.open(io.BytesIO(data), formats=formats)
    picture.info.update(found)
    return picture


def frames(picture: Image) -> int:
    """How many pictures of an animation; a HEIF file may hold several photos."""
    if picture.format in ("MPO", "HEIF"):
        return 1
    found: int = picture.info.get("frames", getattr(picture, "n_frames", 1))
    return found


def orientation(picture: Image) -> int:
    try:
        found: Any = picture.getexif().get(ORIENTATION)
        return int(found or 1)
    except Exception:  # whatever a broken block of metadata makes of Pillow's reader
        return 1


def size(picture: Image) -> tuple[int, int]:
    """Width and height as a person sees it."""
    width, height = picture.size
    return (height, width) if orientation(picture) in SIDEWAYS else (width, height)


def alpha(picture: Image) -> Image | None:
    """How opaque each pixel is; None when all of them are."""
    if not picture.has_transparency_data or picture.mode.startswith("I;16"):
        return None
    channel = picture if picture.mode in ("LA", "RGBA") else picture.convert("RGBA")
    found = channel.getchannel("A")
    return None if found.getextrema()[0] == 255 else found


def upright(picture: Image) -> Image:
    """The picture as a person sees it: turned as its EXIF says, in sRGB, what is transparent on white."""
    from PIL import Image as images

    opaque = alpha(picture)
    seen = in_srgb(picture)
    if opaque is not None:
        ground = images.new("RGB", seen.size, BEHIND_ALPHA)
        ground.paste(seen, mask=opaque)
        seen = ground
    turn = {
        2: images.Transpose.FLIP_LEFT_RIGHT,
        3: images.Transpose.ROTATE_180,
        4: images.Transpose.FLIP_TOP_BOTTOM,
        5: images.Transpose.TRANSPOSE,
        6: images.Transpose.ROTATE_270,
        7: images.Transpose.TRANSVERSE,
        8: images.Transpose.ROTATE_90,
    }.get(orientation(picture))
    return seen if turn is None else seen.transpose(turn)


def in_srgb(picture: Image) -> Image:
    """RGB without alpha, its colours as its profile says; a profile that is broken changes nothing."""
    from PIL import ImageCms

    base = _without_alpha(picture)
    transform, mode = colours(picture, base.mode)
    if transform is None:
        return base.convert("RGB")
    turned = ImageCms.applyTransform(base.convert(mode), transform)
    assert turned is not None  # None only where it is done in place
    return turned


def colours(picture: Image, mode: str | None = None) -> tuple[Any, str]:
    """What turns the picture's colours into sRGB, and the mode it reads; None where nothing changes."""
    from PIL import ImageCms

    mode = mode or _without_alpha(picture).mode
    profile = picture.info.get("icc_profile")
    if not profile or len(profile) > MAX_PROFILE_BYTES:
        return None, mode
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = source.profile.xcolor_space.strip()
        reads = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
        if reads is None or (reads != mode and (reads, mode) != ("RGB", "L")):
            return None, mode  # of another kind of picture
        transform = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            reads,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return (None, mode) if reads == "RGB" and _changes_nothing(transform) else (transform, reads)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None, mode


def _without_alpha(picture: Image) -> Image:
    """L, RGB or CMYK."""
    mode = picture.mode
    if mode.startswith("I;16"):  # 16 bits of grey: Pillow would cut off what is above 255
        return picture.point(lambda value: value / 257, "L")
    if mode in ("1", "LA", "La"):
        return picture.convert("L")
    return picture if mode in ("L", "RGB", "CMYK") else picture.convert("RGB")


def _changes_nothing(transform: Any) -> bool:
    """sRGB under one of its many names: rounding alone would change its pixels."""
    from PIL import Image as images
    from PIL import ImageChops, ImageCms

    steps = range(0, 256, 15)
    colours = bytes(each for red in steps for green in steps for blue in steps for each in (red, green, blue))
    before = images.frombytes("RGB", (len(steps) ** 2, len(steps)), colours)
    after = ImageCms.applyTransform(before, transform)
    assert after is not None
    worst = max(high for _, high in ImageChops.difference(before, after).getextrema())  # type: ignore[misc]
    return bool(worst <= 2)


def _png(data: bytes) -> tuple[bytes, dict[str, Any]]:
    """Without what is no pixel; the profile and the number of frames are read here."""
    kept: list[bytes | memoryview] = [PNG]
    found: dict[str, Any] = {}
    for kind, whole, body in _chunks(memoryview(data)):
        is_optional = kind[0] & 0x20
        if not is_optional:
            kept.append(whole)
        elif len(body) + 12 == len(whole) and zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big"):
            if kind in PIXEL_CHUNKS:
                kept.append(whole)
            elif kind == b"iCCP":
                found["icc_profile"] = _inflated(bytes(body))
            elif kind == b"acTL" and len(body) == 8:
                found["frames"] = struct.unpack(">I", body[:4])[0]
    return b"".join(kept), found


def _chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview, memoryview]]:
    """Kind, the whole chunk and its content; what is cut off comes as it is."""
    at = len(PNG)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind = bytes(data[at + 4 : at + 8]) or b"\0"
        yield kind, data[at : at + 12 + length], data[at + 8 : at + 8 + length]
        if kind == b"IEND":
            return
        at += 12 + length


def _inflated(chunk: bytes) -> bytes | None:
    _, _, packed = chunk.partition(b"\0")
    try:
        stream = zlib.decompressobj()
        profile = stream.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if stream.eof else None


def _jpeg(data: bytes) -> bytes:
    """Without the segments that nobody reads. Raises ``TooManyScans``."""
    kept: list[bytes | memoryview] = [data[:2]]
    view, at = memoryview(data), 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if marker == START_OF_SCAN:
            break
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        is_read = data.startswith(READ_SEGMENTS.get(marker, b"\0none"), at + 4)
        if is_read or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
            kept.append(view[at:end])
        at = end
    _count_scans(data, at)
    kept.append(view[at:])
    return b"".join(kept)


def _count_scans(data: bytes, at: int) -> None:
    scans = 0
    for found in NEXT_MARKER.finditer(data, at):
        marker = found[1][0]
        if marker == END_OF_IMAGE:
            return
        scans += marker == START_OF_SCAN
        if scans > MAX_SCANS:
            raise TooManyScans(f"the JPEG has more than {MAX_SCANS} scans")
