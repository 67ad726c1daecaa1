"""Photos of every shape become photos of the clip's size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bootstrap.errors import KitError
from services.video import fit, photo

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def bands(width: int, height: int) -> Image.Image:
    """Red, green and blue from left to right."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for number, colour in enumerate((RED, GREEN, BLUE)):
        pixels[:, number * width // 3 : (number + 1) * width // 3] = colour
    return Image.fromarray(pixels)


def colour(picture: Image.Image, across: float, down: float) -> tuple[int, ...]:
    pixel = picture.getpixel((int(across * picture.width), int(down * picture.height)))
    assert isinstance(pixel, tuple)
    return pixel


def test_crop_fills_the_clip_and_keeps_the_middle() -> None:
    picture = fit.fitted(bands(300, 100), width=96, height=96, fit="crop")
    assert picture.size == (96, 96)
    assert colour(picture, 0.05, 0.5) == colour(picture, 0.95, 0.5) == GREEN


def test_pad_keeps_all_and_adds_bars() -> None:
    picture = fit.fitted(bands(300, 100), width=96, height=96, fit="pad")
    assert colour(picture, 0.5, 0.05) == fit.PAD_COLOUR
    assert colour(picture, 0.1, 0.5) == RED
    assert colour(picture, 0.9, 0.5) == BLUE


def test_stretch_keeps_all_without_bars() -> None:
    picture = fit.fitted(bands(300, 100), width=96, height=96, fit="stretch")
    assert colour(picture, 0.1, 0.05) == RED
    assert colour(picture, 0.9, 0.95) == BLUE


def test_a_photo_of_the_right_size_is_not_touched() -> None:
    picture = bands(96, 64)
    assert np.array_equal(
        np.asarray(fit.fitted(picture, width=96, height=64, fit="crop")), np.asarray(picture)
    )


def test_a_turned_photo_is_put_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter: as a phone held upright writes it
    bands(300, 100).save(tmp_path / "phone.png", exif=exif)
    fit.photo(tmp_path / "phone.png", tmp_path / "fitted.png", width=64, height=192, fit="stretch")
    with Image.open(tmp_path / "fitted.png") as picture:
        assert picture.size == (64, 192)
        assert colour(picture, 0.5, 0.1) == RED
        assert colour(picture, 0.5, 0.9) == BLUE


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA"])
def test_what_is_transparent_becomes_white(tmp_path: Path, mode: str) -> None:
    clear = Image.new("RGBA", (64, 64), (10, 20, 30, 0))
    clear.convert(mode).save(tmp_path / "clear.tiff" if mode == "PA" else tmp_path / "clear.png")
    source = next(tmp_path.glob("clear.*"))
    fit.photo(source, tmp_path / "fitted.png", width=64, height=64)
    with Image.open(tmp_path / "fitted.png") as picture:
        assert picture.mode == "RGB"
        assert colour(picture, 0.5, 0.5) == photo.BEHIND_ALPHA


@pytest.mark.parametrize("mode", ["L", "CMYK", "I;16", "P", "1"])
def test_every_kind_of_picture_is_read(tmp_path: Path, mode: str) -> None:
    picture = (
        Image.new("L", (64, 64), 200).convert("I").convert(mode)
        if mode == "I;16"
        else Image.new(mode, (64, 64))
    )
    picture.save(tmp_path / "picture.tiff")
    fit.photo(tmp_path / "picture.tiff", tmp_path / "fitted.png", width=64, height=64)
    with Image.open(tmp_path / "fitted.png") as fitted:
        assert (fitted.mode, fitted.size) == ("RGB", (64, 64))


def test_a_file_that_is_no_picture_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(KitError, match=r"text.png is not a readable image"):
        fit.photo(tmp_path / "text.png", tmp_path / "fitted.png", width=64, height=64)


def test_a_truncated_photo_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "half.jpg"
    bands(300, 200).save(path)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(KitError, match="not a readable image"):
        fit.photo(path, tmp_path / "fitted.png", width=64, height=64)


def test_a_small_photo_is_warned_about_with_what_would_help() -> None:
    (warning,) = fit.warnings((512, 288), width=1024, height=576, fit="crop")
    assert "512x288" in warning and "2.0 times" in warning and "larger photo" in warning
    assert fit.warnings((1024, 576), width=1024, height=576, fit="crop") == ()
    assert fit.warnings((4000, 2250), width=1024, height=576, fit="crop") == ()


@pytest.mark.parametrize(("mode", "cost"), [("crop", "cut off"), ("pad", "bars"), ("stretch", "distorted")])
def test_a_photo_of_another_shape_is_warned_about(mode: fit.Fit, cost: str) -> None:
    (warning,) = fit.warnings((2000, 3000), width=1024, height=576, fit=mode)
    assert cost in warning


def test_sixteen_bits_of_grey_keep_their_greys(tmp_path: Path) -> None:
    from PIL import Image

    deep = Image.new("I;16", (64, 64), 0x8080)
    deep.save(tmp_path / "deep.png")
    with Image.open(tmp_path / "deep.png") as opened:
        assert photo.upright(opened).getpixel((5, 5)) == (128, 128, 128)
