"""Colours are those that a colour-managed viewer shows."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms

from services.video import photo

pillow_heif.register_heif_opener()
SRGB = ImageCms.createProfile("sRGB")
# Primaries as the profiles hold them, adapted to D50, and each space's curve.
SPACES = {
    "Display P3": (  # its curve is sRGB's
        (0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407), None),
    "Adobe RGB": ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457), 2.2),
    "ProPhoto": ((0.79767, 0.28804, 0.0), (0.13519, 0.71188, 0.0), (0.03134, 0.00009, 0.82491), 1.8),
}  # fmt: skip


def s15(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(map(s15, values))


def curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    steps = np.linspace(0, 1, 1024)
    linear = np.where(steps <= 0.04045, steps / 12.92, ((steps + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(v * 65535) for v in linear))


def profile(name: str, space: bytes, tags: list[tuple[bytes, bytes]]) -> bytes:
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name) + 1) + name.encode() + b"\0" * 79
    tags = [(b"desc", text), (b"cprt", b"text\0\0\0\0none\0"), (b"wtpt", xyz((0.9642, 1, 0.8249))), *tags]
    table, data, at = b"", b"", 132 + 12 * len(tags)
    for name_, body in tags:
        body += b"\0" * (-len(body) % 4)
        table += name_ + struct.pack(">II", at, len(body))
        data += body
        at += len(body)
    head = struct.pack(">I", at) + b"\0\0\0\0\x02\x10\0\0mntr" + space + b"XYZ " + bytes(12) + b"acsp"
    head = head.ljust(68, b"\0") + s15(0.9642) + s15(1) + s15(0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


def icc(space: str) -> bytes:
    red, green, blue, gamma = SPACES[space]
    curves = [(name, curve(gamma)) for name in (b"rTRC", b"gTRC", b"bTRC")]
    return profile(
        space, b"RGB ", [(b"rXYZ", xyz(red)), (b"gXYZ", xyz(green)), (b"bXYZ", xyz(blue)), *curves]
    )


def grey(gamma: float) -> bytes:
    return profile("grey", b"GRAY", [(b"kTRC", curve(gamma))])


def scene() -> Image.Image:
    down, across = np.mgrid[0:96, 0:128]
    pixels = np.stack([across * 2, down * 2, 255 - across * 2], -1).astype(np.uint8)
    pixels[20:50, 20:50] = (200, 60, 60)
    return Image.fromarray(pixels)


def through(picture: Image.Image, kind: str, **options: Any) -> Image.Image:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    with photo.opened(file.getvalue()) as opened:
        return photo.upright(opened)


def off(one: Image.Image, other: Image.Image) -> float:
    """Levels of 255, on average."""
    return float(np.abs(np.asarray(one, float) - np.asarray(other.convert("RGB"), float)).mean())


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "HEIF"])
@pytest.mark.parametrize("space", list(SPACES))
def test_a_photo_is_seen_in_its_colours(space: str, kind: str) -> None:
    there = ImageCms.profileToProfile(
        scene(), SRGB, ImageCms.ImageCmsProfile(io.BytesIO(icc(space))), outputMode="RGB"
    )
    assert there is not None
    assert off(there, scene()) > 3  # the numbers differ
    options = {"lossless": True} if kind == "WEBP" else {"quality": 95} if kind != "PNG" else {}
    assert off(through(there, kind, icc_profile=icc(space), **options), scene()) < 3


def test_transparent_parts_keep_their_place_in_a_photo_with_a_profile() -> None:
    there = ImageCms.profileToProfile(
        scene(), SRGB, ImageCms.ImageCmsProfile(io.BytesIO(icc("Display P3"))), outputMode="RGB"
    )
    assert there is not None
    there.putalpha(Image.linear_gradient("L").resize(there.size).point(lambda value: 255 * (value > 128)))
    seen = through(there, "PNG", icc_profile=icc("Display P3"))
    assert seen.getpixel((30, 5)) == (255, 255, 255)
    assert off(seen.crop((0, 60, 128, 96)), scene().crop((0, 60, 128, 96))) < 1


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_grey_has_profiles_too(kind: str) -> None:
    plain = Image.linear_gradient("L")
    brighter = through(plain, kind, icc_profile=grey(1.0))
    assert np.asarray(brighter)[64].mean() > np.asarray(plain)[64].mean() + 30
    assert off(through(plain, kind, icc_profile=grey(2.2)), plain) < 6


@pytest.mark.parametrize(
    "broken", [b"broken", icc("Display P3")[:200], grey(1.0), b"\0" * 4096, icc("ProPhoto")[:-40]]
)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "CMYK"])
def test_a_profile_that_is_broken_or_of_another_kind_changes_nothing(mode: str, broken: bytes) -> None:
    picture = scene().convert(mode)
    kind = "JPEG" if mode == "CMYK" else "PNG"
    options = {"quality": 100} if kind == "JPEG" else {}
    assert off(through(picture, kind, icc_profile=broken, **options), through(picture, kind, **options)) < 4


def test_srgb_under_any_name_changes_no_pixel() -> None:
    own = ImageCms.ImageCmsProfile(SRGB).tobytes()
    assert off(through(scene(), "PNG", icc_profile=own), scene()) == 0


def test_cmyk_is_read_with_and_without_a_profile() -> None:
    plain = through(scene().convert("CMYK"), "JPEG", quality=95)
    assert off(plain, scene()) < 3


def test_sixteen_bits_of_grey_are_not_cut_off() -> None:
    ramp = np.tile(np.linspace(0, 65535, 256).astype(np.uint16), (64, 1))
    seen = through(Image.fromarray(ramp), "PNG")
    assert [seen.getpixel((at, 5)) for at in (0, 128, 255)] == [(0, 0, 0), (128, 128, 128), (255, 255, 255)]


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photo_is_upright_whatever_its_exif_says(kind: str, turn: int) -> None:
    from PIL import ImageOps

    exif = Image.Exif()
    exif[photo.ORIENTATION] = turn
    turned = scene()
    turned.getexif()[photo.ORIENTATION] = turn
    expected = ImageOps.exif_transpose(turned)
    seen = through(scene(), kind, exif=exif, quality=95)
    assert seen.size == expected.size
    assert off(seen, expected) < 6
