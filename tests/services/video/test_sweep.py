"""Clips side by side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bootstrap.errors import KitError
from services.video import encode, sweep
from services.video.metadata import Metadata


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("80:180:20", [80, 100, 120, 140, 160, 180]),
        ("80:179:20", [80, 100, 120, 140, 160]),
        ("0:0.1:0.02", [0, 0.02, 0.04, 0.06, 0.08, 0.1]),
        ("180:80:-50", [180, 130, 80]),
        ("127", [127]),
        ("60,127,180", [60, 127, 180]),
    ],
)
def test_a_range_includes_both_ends(text: str, wanted: list[float]) -> None:
    assert sweep.values(text) == wanted


@pytest.mark.parametrize("text", ["", "80:180", "a:b:c", "80:180:0", "180:80:20", "1:255:1", "1;2"])
def test_a_range_that_is_none_is_a_clear_error(text: str) -> None:
    with pytest.raises(KitError):
        sweep.values(text)


def clips(folder: Path, lengths: list[int], width: int = 96, height: int = 64) -> list[sweep.Cell]:
    cells = []
    for number, length in enumerate(lengths):
        path = folder / f"{number}.mp4"
        colour = np.full((height, width, 3), 40 + 50 * number, np.uint8)
        encode.write([colour] * length, path, fps=7, metadata=Metadata("m", "0", {}))
        cells.append(sweep.Cell(f"motion {number}", path))
    return cells


def test_a_grid_shows_every_clip_at_its_place_until_the_longest_ends(tmp_path: Path) -> None:
    frames = list(sweep.grid(clips(tmp_path, [3, 5, 4])))
    assert len(frames) == 5
    height, width = frames[0].shape[:2]
    assert (width, height) == (2 * 96 + sweep.GAP, 2 * 64 + sweep.GAP)
    for number, (x, y) in enumerate([(80, 50), (180, 50), (80, 120)]):
        assert np.abs(frames[-1][y, x].astype(int) - (40 + 50 * number)).max() <= 3
    assert tuple(frames[0][120, 180]) == sweep.GROUND  # the place without a clip


def test_each_clip_carries_its_label(tmp_path: Path) -> None:
    (frame, *_) = sweep.grid(clips(tmp_path, [1, 1]))
    for left in (0, 96 + sweep.GAP):
        corner = frame[:16, left : left + 60]
        assert (corner.min(), corner.max()) == (sweep.GROUND[0], sweep.INK[0])


def test_a_wide_grid_is_made_smaller_and_can_be_encoded(tmp_path: Path) -> None:
    cells = clips(tmp_path, [1] * 5, width=1024, height=576)
    encode.write(sweep.grid(cells), tmp_path / "grid.mp4", fps=7, metadata=Metadata("m", "0", {}))
    (frame,) = sweep.frames(tmp_path / "grid.mp4")
    assert frame.shape[1] <= sweep.WIDEST + 1


def test_a_sheet_has_a_row_for_each_clip(tmp_path: Path) -> None:
    picture = sweep.sheet(clips(tmp_path, [1, 9, 25]))
    assert picture.size == (sweep.STILLS * (96 + sweep.GAP) - sweep.GAP, 3 * (64 + sweep.GAP) - sweep.GAP)
