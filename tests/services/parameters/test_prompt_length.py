"""A prompt whose end the model may not read is told, as what a photo loses is."""

from __future__ import annotations

import pytest

from services import parameters
from services.parameters import prompt_length
from tests.services.front.running import WAN, plan

READS_64 = plan(WAN | {"recipe": {**WAN["recipe"], "text_length": 64}})


def warned(prompt: str, **more: object) -> tuple[str, ...]:
    asked = parameters.parse({"prompt": prompt, **more})
    return parameters.complete(asked, READS_64, has_image=False).warnings


@pytest.mark.parametrize(
    "prompt",
    ["a red circle moving right, " * 60, "一只红色的猫在雪地里奔跑。" * 12, "word " * 80, "x" * 3000],
)
def test_a_long_prompt_is_told_with_how_much_is_read(prompt: str) -> None:
    (warning,) = warned(prompt)
    assert "this model reads 64" in warning
    assert "its end may not be read" in warning


@pytest.mark.parametrize("prompt", ["a red fox in the snow", "一只红色的猫在雪地里奔跑", "a cat, " * 15])
def test_a_short_prompt_is_not(prompt: str) -> None:
    assert warned(prompt) == ()


def test_what_to_keep_out_counts_where_it_is_read() -> None:
    long = "blurred, " * 60
    assert "tokens" not in str(warned("a cat", negative_prompt=long, guidance_scale=1.0))
    (warning,) = warned("a cat", negative_prompt=long, guidance_scale=4.0)
    assert warning.startswith("the negative prompt has about")


def test_words_are_one_piece_or_a_few() -> None:
    text = "A red fox runs through deep snow at dawn, golden light, cinematic, shallow depth of field"
    assert 17 < prompt_length.pieces(text) < 2 * 17
