"""A complete request as engines read it."""

from __future__ import annotations

import pytest

from services import parameters
from services.parameters import values
from services.parameters.values import Values


def test_every_parameter_reaches_the_engine() -> None:
    """Size and length do so as width, height and number of frames."""
    assert {*values.NAMES, "size", "seconds"} == set(parameters.NAMES)


def test_absent_and_none_take_the_neutral_default_and_unknown_names_are_left_out() -> None:
    record = {"width": 64, "height": 48, "num_frames": 9, "seed": 1, "shift": None, "of_a_newer_kit": 3}
    made = Values.of(record)
    assert (made.width, made.height, made.num_frames, made.seed) == (64, 48, 9, 1)
    assert (made.shift, made.lora, made.prompt) == (1.0, None, "")


def test_a_record_without_a_size_is_no_request() -> None:
    with pytest.raises(TypeError, match="width"):
        Values.of({"num_frames": 9, "seed": 1})
