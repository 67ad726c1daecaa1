"""Nothing that is no sound image reaches a worker."""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import Any

import pillow_heif
import pytest
from PIL import Image

from services.parameters import RequestError, images

LIMIT = 2**20


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(kind: str = "JPEG", size: tuple[int, int] = (200, 100), **options: Any) -> bytes:
    return saved(Image.effect_noise(size, 50).convert("RGB"), kind, **options)


def refusal(data: bytes) -> tuple[str, str]:
    with pytest.raises(RequestError) as refused:
        images.check(data, max_bytes=LIMIT)
    assert refused.value.param == "input_reference"
    assert refused.value.fix
    return refused.value.code, refused.value.problem


@pytest.mark.parametrize(
    ("kind", "suffix"), [("JPEG", ".jpg"), ("PNG", ".png"), ("WEBP", ".webp"), ("AVIF", ".avif")]
)
def test_the_type_is_told_by_the_content(kind: str, suffix: str) -> None:
    data = picture(kind)
    found = images.check(data, max_bytes=LIMIT)
    assert (found.data, found.suffix, found.width, found.height, found.warnings) == (
        data,
        suffix,
        200,
        100,
        (),
    )


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "I;16", "LA"])
def test_every_colour_mode_that_files_have_is_taken(mode: str) -> None:
    data = saved(Image.new(mode, (64, 64)), "JPEG" if mode == "CMYK" else "PNG")
    assert images.check(data, max_bytes=LIMIT).width == 64


def test_a_photo_from_a_phone_is_as_large_as_it_is_seen() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    found = images.check(picture(exif=exif), max_bytes=LIMIT)
    assert (found.width, found.height) == (100, 200)


def test_two_photos_in_one_are_no_animation() -> None:
    first, second = (Image.effect_noise((100, 100), sigma).convert("RGB") for sigma in (10, 20))
    data = saved(first, "MPO", save_all=True, append_images=[second])
    found = images.check(data, max_bytes=LIMIT)
    assert (found.suffix, found.warnings) == (".jpg", ())


def test_an_animation_is_taken_with_a_word_about_it() -> None:
    frames = [Image.effect_noise((64, 64), sigma).convert("RGB") for sigma in (10, 90)]
    data = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:])
    assert "animated" in images.check(data, max_bytes=LIMIT).warnings[0]


def test_transparent_parts_are_noted() -> None:
    assert (
        "transparent" in images.check(saved(Image.new("RGBA", (64, 64)), "PNG"), max_bytes=LIMIT).warnings[0]
    )


def test_a_file_that_is_cut_off_is_refused_at_every_length() -> None:
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = picture(kind)
        for part in (0.3, 0.6, 0.95):
            code, _ = refusal(whole[: int(len(whole) * part)])
            assert code == "image_damaged", (kind, part)


def test_a_png_with_a_flipped_byte_is_refused() -> None:
    data = bytearray(picture("PNG"))
    data[len(data) // 2] ^= 0xFF
    assert refusal(bytes(data))[0] == "image_damaged"


def png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize("size", [(10_000, 10_000), (60_000, 60_000), (2**31 - 1, 2**31 - 1)])
def test_a_pixel_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    code, problem = refusal(png_header(*size))
    assert (code, "megapixels" in problem) == ("image_too_large", True)


@pytest.mark.parametrize("kind", [b"zTXt", b"tEXt", b"iTXt", b"iCCP"])
def test_what_is_no_pixel_never_makes_a_photo_damaged(kind: bytes) -> None:
    """A workflow of 1.4 MB, 80 MB behind a few bytes, and what is broken: none is even read."""
    data = picture("PNG")
    workflow = zlib.compress(os.urandom(350_000).hex().encode() * 2)
    for text in (workflow, zlib.compress(b"x" * 80_000_000), b"broken", b""):
        for checksum in (zlib.crc32(kind + b"Comment\0\0" + text), 7):
            body = b"Comment\0\0" + text
            chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)
            assert images.check(data[:33] + chunk + data[33:], max_bytes=2 * LIMIT).width == 200


def test_broken_exif_xmp_and_previews_never_make_a_photo_damaged() -> None:
    data = picture("JPEG")
    for marker, body in (
        (0xE1, b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmp" + b"\xff" * 60_000),
        (0xE2, b"MPF\0II*\0\x08\0\0\0" + b"\xff" * 40),
        (0xE2, b"ICC_PROFILE\0\x01\x01broken"),
        (0xED, b"Photoshop 3.0\0" + b"8BIM" + b"\xff" * 90),
        (0xFE, b"\xff\xda" * 200),
    ):
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
        found = images.check(data[:2] + segment * 20 + data[2:], max_bytes=2 * LIMIT)
        assert (found.width, found.warnings) == (200, ())


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded() -> None:
    data = saved(Image.new("RGB", (300, 200)), "JPEG", progressive=True)
    at = data.rindex(b"\xff\xda")
    scan = data[at : data.rindex(b"\xff\xd9")]
    code, problem = refusal(data[:at] + scan * 120 + data[at:])
    assert (code, "scans" in problem) == ("image_too_large", True)
    assert images.check(data[:at] + scan * 3 + data[at:], max_bytes=LIMIT).width == 300


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_photos_of_phones_are_taken(kind: str) -> None:
    pillow_heif.register_heif_opener()
    found = images.check(picture(kind), max_bytes=LIMIT)
    assert (found.width, found.height, found.warnings) == (200, 100, ())
    assert found.suffix == {"HEIF": ".heic", "AVIF": ".avif"}[kind]


@pytest.mark.parametrize("size", [(8160, 6144), (8192, 6144)])
def test_what_phones_call_50_megapixels_is_taken(size: tuple[int, int]) -> None:
    data = saved(Image.new("RGB", size, (90, 120, 200)), "JPEG", quality=60)
    assert images.check(data, max_bytes=LIMIT).width == size[0]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_alpha_is_no_transparency(mode: str) -> None:
    data = saved(Image.new("RGBA", (64, 64), (200, 60, 60, 255)).convert(mode), "PNG")
    assert images.check(data, max_bytes=LIMIT).warnings == ()


def test_too_many_bytes_too_few_pixels_and_none_at_all() -> None:
    assert refusal(b"") == ("image_empty", "the image is empty: 0 bytes")
    assert refusal(picture("PNG", (1200, 1200)))[0] == "image_too_large"
    assert refusal(picture(size=(200, 20)))[0] == "image_too_small"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"GIF89a" + b"\0" * 50, "GIF"),
        (b"%PDF-1.7", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<!doctype html><html>", "web page"),
        (b"\x1aE\xdf\xa3" + b"\0" * 50, "video"),
        (b"PK\x03\x04", "ZIP"),
        (b"hello, I am photo.jpg", "a text"),
        (bytes(range(200)), "unknown"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "EPS"),
    ],
)
def test_what_else_it_is_is_said(data: bytes, name: str) -> None:
    code, problem = refusal(data)
    assert (code, name in problem) == ("image_type", True)
