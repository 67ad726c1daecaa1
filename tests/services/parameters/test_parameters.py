"""What may be asked, model by model."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bootstrap.choose import family, reading
from bootstrap.choose.manifest import Limits
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice
from bootstrap.errors import KitError
from services.parameters import NAMES, Request, RequestError, complete, families, limits, parse
from tests.services.front.running import SVD, WAN, plan

SVD_XT = SVD | {
    "model": "svd-xt",
    "defaults": SVD["defaults"] | {"size": "1024x576", "num_frames": 25, "num_inference_steps": 25},
    "limits": {"size_multiple": 64, "frames": (14, 25), "max_pixels": 1048576, "max_steps": 100},
}
WAN_5B = WAN | {"inputs": ("text", "image"), "optional_inputs": ("image",)}
WAN_I2V = WAN | {"inputs": ("text", "image")}


def ask(model: dict[str, Any], *, image: bool | None = None, **given: Any) -> Request:
    return complete(parse(given), plan(model), has_image=image, draw_seed=lambda: 12345)


def refused(model: dict[str, Any], *, image: bool | None = None, **given: Any) -> RequestError:
    with pytest.raises(RequestError) as error:
        ask(model, image=image, **given)
    return error.value


def test_nothing_asked_is_the_models_defaults() -> None:
    request = ask(SVD_XT)
    assert request.values == {
        "preset": None, "width": 1024, "height": 576, "num_frames": 25, "fps": 7, "seed": 12345,
        "num_inference_steps": 25, "motion_bucket_id": 127, "noise_aug_strength": 0.02,
        "min_guidance_scale": 1.0, "max_guidance_scale": 3.0, "decode_chunk_size": None, "fit": "crop",
    }  # fmt: skip
    assert request.warnings == ()


def test_every_parameter_of_the_family_is_there_and_no_other() -> None:
    assert set(ask(SVD).values) == set(family.load("svd").parameters) - {"size", "seconds"}
    assert set(ask(WAN, prompt="x").values) == set(family.load("wan").parameters) - {"size", "seconds"}


def test_every_field_of_the_table_is_read_by_a_family_and_a_family_reads_no_other() -> None:
    assert all(families.readers(name) for name in NAMES)
    for each in family.shipped():
        assert families.names(each)
    stranger = family.load("svd").model_copy(update={"parameters": ("size", "colour")})
    with pytest.raises(KitError, match="reads colour, which nobody can ask for"):
        families.names(stranger)


def test_a_seed_is_drawn_and_told_and_a_given_one_is_kept() -> None:
    drawn = {complete(parse({}), plan(SVD)).values["seed"] for _ in range(5)}
    assert len(drawn) == 5
    assert all(0 <= seed < 2**31 for seed in drawn)
    assert ask(SVD, seed=0).values["seed"] == 0


def test_what_is_given_wins_over_the_preset_and_the_preset_over_the_default() -> None:
    values = ask(SVD, preset="action", fps=9).values
    assert (values["preset"], values["motion_bucket_id"], values["fps"]) == ("action", 180, 9)
    assert values["num_inference_steps"] == 2
    assert "product" in refused(SVD, preset="actoin").fix


PRESETS = {preset.name: preset.values for preset in family.load("svd").presets}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_legal_on_every_svd_model(name: str) -> None:
    for model in (SVD, SVD_XT):
        values = ask(model, preset=name).values
        for field, value in PRESETS[name].items():
            assert values[field] == value


# -- sizes ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "size"),
    [
        ({"size": "576x1024"}, (576, 1024)),
        ({"width": 576, "height": 1024}, (576, 1024)),
        ({"size": "576x1024", "width": 576}, (576, 1024)),
        ({"width": "640", "height": "384"}, (640, 384)),
    ],
)
def test_a_size_may_be_given_in_one_or_in_two(given: dict[str, Any], size: tuple[int, int]) -> None:
    values = ask(SVD_XT, **given).values
    assert (values["width"], values["height"]) == size


@pytest.mark.parametrize(
    ("given", "param", "fix"),
    [
        ({"size": "1000x600"}, "size", "1024x576"),
        ({"size": "1280x720"}, "size", "1280x704"),
        ({"size": "2048x1152"}, "size", "1344x768"),
        ({"size": "16x16"}, "size", "64x64"),
        ({"width": 1000, "height": 576}, "width", "1024x576"),
        ({"width": 1024}, "height", "width and height"),
        ({"height": 576}, "width", "width and height"),
        ({"size": "1024x576", "width": 576}, "width", "1024"),
    ],
)
def test_a_size_that_is_not_legal_is_refused_with_the_nearest(
    given: dict[str, Any], param: str, fix: str
) -> None:
    error = refused(SVD_XT, **given)
    assert error.param == param
    assert fix in error.fix


def test_a_list_of_sizes_is_the_whole_truth() -> None:
    model = SVD | {"limits": SVD["limits"] | {"sizes": ("256x128", "128x256", "128x128")}}
    assert ask(model, size="128x256").values["height"] == 256
    error = refused(model, size="192x128")
    assert error.fix.startswith("the nearest legal sizes are 256x128")


@pytest.mark.parametrize("given", ["100x100", "3000x100", "100x3000", "99999x99999", "1023x577", "5000x5000"])
@pytest.mark.parametrize("model", [SVD, SVD_XT, WAN])
def test_the_sizes_that_a_fix_names_are_legal_themselves(model: dict[str, Any], given: str) -> None:
    rules = Limits.model_validate(model["limits"])
    for width, height in limits.nearest_sizes(limits.parse_size(given), rules):
        asked = {"size": f"{width}x{height}"}
        assert limits.size(asked, rules, default=(64, 64), image_size=None, warnings=[]) == (width, height)


def test_the_default_size_lies_as_the_photo_does() -> None:
    def of(image_size: tuple[int, int], **given: Any) -> tuple[int, int]:
        values = complete(parse(given), plan(SVD_XT), has_image=True, image_size=image_size).values
        return values["width"], values["height"]

    assert of((4000, 3000)) == (1024, 576)
    assert of((3000, 4000)) == (576, 1024)
    assert of((1000, 1000)) == (1024, 576)
    assert of((3000, 4000), size="1024x576") == (1024, 576)


def test_a_default_that_this_machine_has_no_room_for_is_made_smaller_and_said() -> None:
    model = SVD_XT | {"limits": {"size_multiple": 64, "frames": (14,), "max_pixels": 512 * 512}}
    request = ask(model)
    values = request.values
    assert values["width"] * values["height"] <= 512 * 512
    assert values["width"] / values["height"] == pytest.approx(16 / 9, rel=0.15)
    assert values["num_frames"] == 14
    assert len(request.warnings) == 2


# -- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "given", "fix"),
    [
        (SVD, 20, "14 and 25"),
        (SVD, 10, "14"),
        (SVD, 30, "25"),
        (WAN, 80, "77 and 81"),
        (WAN, 82, "81 and 85"),
        (WAN, 200, "121"),
    ],
)
def test_an_illegal_number_of_frames_is_refused_with_the_two_nearest(
    model: dict[str, Any], given: int, fix: str
) -> None:
    error = refused(model, prompt="x", num_frames=given, size="256x128")
    assert error.param == "num_frames"
    assert error.fix.endswith(fix)


@pytest.mark.parametrize(
    ("model", "seconds", "fps", "frames"),
    [
        (WAN, 5, 16, 81),
        (WAN, "4", 16, 65),
        (WAN, 0.01, 16, 1),
        (WAN, 7.5, 16, 121),
        (WAN, 8, 16, 121),
        (SVD, 2, 7, 14),
        (SVD, 3.5, 7, 25),
        (SVD, "4", 7, 25),
        (SVD, 1, 7, 14),
    ],
)
def test_seconds_become_the_nearest_legal_number(
    model: dict[str, Any], seconds: Any, fps: int, frames: int
) -> None:
    request = ask(model, prompt="x", seconds=seconds, fps=fps, size="256x128")
    assert request.values["num_frames"] == frames
    off = abs(float(seconds) * fps - frames) >= 1
    assert any("became" in warning for warning in request.warnings) == off


def test_a_clip_is_never_cut_down_to_a_part_of_what_was_asked() -> None:
    error = refused(SVD, seconds=12)
    assert (error.param, "at most 3.6 s" in error.fix) == ("seconds", True)
    assert "or fps" not in error.fix
    assert "or fps 6" in refused(SVD, seconds=4.1, fps=30).fix


def test_a_number_of_frames_wins_over_seconds_and_says_so() -> None:
    request = ask(WAN, prompt="x", num_frames=17, seconds=5, size="256x128")
    assert request.values["num_frames"] == 17
    assert "wins" in request.warnings[0]


# -- memory ---------------------------------------------------------------------------------------


def test_what_would_not_fit_is_refused_before_it_starts_and_what_fits_is_named() -> None:
    error = refused(WAN, prompt="x", size="1280x720", num_frames=81)
    assert (error.code, error.param) == ("too_large", "size")
    assert "33 frames at 1280x720" in error.fix
    assert ask(WAN, prompt="x", size="1280x720", num_frames=33).values["num_frames"] == 33
    smaller = error.fix.rpartition(" ")[2]
    assert ask(WAN, prompt="x", size=smaller, num_frames=81).values["num_frames"] == 81


# -- ranges and families --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"fps": 5}, "fps"),
        ({"fps": 31}, "fps"),
        ({"motion_bucket_id": 0}, "motion_bucket_id"),
        ({"motion_bucket_id": 256}, "motion_bucket_id"),
        ({"noise_aug_strength": 1.1}, "noise_aug_strength"),
        ({"num_inference_steps": 101}, "num_inference_steps"),
        ({"min_guidance_scale": 4}, "min_guidance_scale"),
        ({"min_guidance_scale": 2, "max_guidance_scale": 1.5}, "min_guidance_scale"),
        ({"decode_chunk_size": 0}, "decode_chunk_size"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"fit": "squash"}, "fit"),
        ({"size": "big"}, "size"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": "NaN"}, "seconds"),
        ({"noise_aug_strength": "nan"}, "noise_aug_strength"),
        ({"seconds": "inf"}, "seconds"),
        ({"num_frames": 14.5}, "num_frames"),
        ({"fps": "7fps"}, "fps"),
        ({"prompt": ["a"]}, "prompt"),
        ({"fps": {"a": 1}}, "fps"),
        ({"fps": True}, "fps"),
    ],
)
def test_a_value_out_of_its_range_is_named_with_its_rule(given: dict[str, Any], param: str) -> None:
    error = refused(SVD, **given)
    assert (error.param, error.code) == (param, "invalid_value")
    assert error.problem
    assert error.fix


def test_a_profile_may_allow_fewer_steps() -> None:
    model = SVD | {"limits": SVD["limits"] | {"max_steps": 30}}
    assert "30" in refused(model, num_inference_steps=31).fix


@pytest.mark.parametrize(
    ("model", "given"),
    [
        (SVD, {"negative_prompt": "blur"}),
        (SVD, {"guidance_scale": 3}),
        (SVD, {"lora": True}),
        (WAN, {"motion_bucket_id": 100}),
        (WAN, {"preset": "action"}),
        (WAN, {"decode_chunk_size": 2}),
    ],
)
def test_a_parameter_of_another_family_is_refused(model: dict[str, Any], given: dict[str, Any]) -> None:
    error = refused(model, prompt="x", **given)
    assert (error.code, error.param) == ("unsupported_parameter", next(iter(given)))


def test_a_prompt_for_svd_is_kept_with_a_word_since_clients_always_send_one() -> None:
    request = ask(SVD, prompt="a cat")
    assert "prompt" not in request.values
    assert "does not read prompts" in request.warnings[0]


@pytest.mark.parametrize(
    ("model", "image", "given", "code"),
    [
        (SVD, False, {}, "image_required"),
        (SVD, True, {}, None),
        (SVD, None, {}, None),
        (WAN, True, {"prompt": "x"}, "image_not_supported"),
        (WAN, False, {"prompt": "x"}, None),
        (WAN, False, {}, "prompt_required"),
        (WAN, False, {"prompt": "  "}, "prompt_required"),
        (WAN_5B, False, {"prompt": "x"}, None),
        (WAN_5B, True, {"prompt": "x"}, None),
        (WAN_I2V, False, {"prompt": "x"}, "image_required"),
        (WAN_I2V, True, {}, "prompt_required"),
    ],
)
def test_a_model_is_given_what_it_starts_from(
    model: dict[str, Any], image: bool | None, given: dict[str, Any], code: str | None
) -> None:
    if code is None:
        ask(model, image=image, **given)
    else:
        assert refused(model, image=image, **given).code == code


# -- doubts ---------------------------------------------------------------------------------------


def test_much_motion_is_doubtful() -> None:
    assert ask(SVD, motion_bucket_id=200).warnings == ()
    assert "fall apart" in ask(SVD, motion_bucket_id=201).warnings[0]


def test_without_the_loras_the_model_gets_the_steps_it_needs() -> None:
    request = ask(WAN, prompt="x", lora=False)
    values = request.values
    assert (values["num_inference_steps"], values["guidance_scale"], values["shift"]) == (20, 3.5, 8.0)
    assert request.warnings == ()
    assert "20 or more" in ask(WAN, prompt="x", lora=False, num_inference_steps=8).warnings[0]
    assert ask(WAN, prompt="x").values["num_inference_steps"] == 4


def test_a_negative_prompt_without_guidance_is_not_read() -> None:
    assert "guidance_scale" in ask(WAN, prompt="x", negative_prompt="blur").warnings[0]
    assert ask(WAN, prompt="x", negative_prompt="blur", guidance_scale=3).warnings == ()


# -- names ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("num_frame", "num_frames"),
        ("nun_frames", "num_frames"),
        ("motion_bucket", "motion_bucket_id"),
        ("steps", "num_inference_steps"),
        ("flow_shift", "shift"),
        ("negativePrompt", "negative_prompt"),
        ("input_ref", "input_reference"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(given: str, meant: str) -> None:
    with pytest.raises(RequestError) as error:
        parse({given: 1}, also_known=["input_reference"])
    assert (error.value.code, error.value.param, meant in error.value.fix) == ("unknown_field", given, True)


def test_a_name_like_no_other_is_told_all_of_ours() -> None:
    with pytest.raises(RequestError) as error:
        parse({"zzz": 1})
    assert "num_frames" in error.value.fix


def test_an_endless_name_is_told_in_short() -> None:
    with pytest.raises(RequestError) as error:
        parse({"n" * 1_000_000: 1})
    assert len(str(error.value)) < 1000


def test_text_is_read_as_the_fields_type_and_empty_text_is_absent() -> None:
    parameters = parse({"num_frames": "17", "lora": "false", "shift": "5.5", "seed": "", "prompt": "007"})
    assert (parameters.num_frames, parameters.lora, parameters.shift) == (17, False, 5.5)
    assert (parameters.seed, parameters.prompt) == (None, "007")


# What was measured to fit each profile of wan22 (docs/wan.md), and what lies just beyond it.
FITTING: dict[str, tuple[tuple[str, int], ...]] = {
    "full": (("1280x720", 81), ("720x1280", 81), ("960x960", 81), ("832x480", 161)),
    "resident": (("1280x720", 81), ("832x480", 161)),
    "swap-long": (("832x480", 481), ("480x832", 481), ("1280x720", 81)),
    "stream": (("1280x720", 81), ("832x480", 161)),
    "stream-lean": (("1280x720", 81), ("832x480", 161)),
    "stream-small": (("832x480", 161), ("624x624", 81)),
}
BEYOND: dict[str, tuple[tuple[str, int], ...]] = {
    "full": (("1920x1088", 81), ("1280x720", 161), ("832x480", 165)),
    "resident": (("1024x1024", 81), ("832x480", 481)),
    "swap-long": (("1920x1088", 81), ("832x480", 485), ("1280x720", 241)),
    "stream": (("1920x1088", 49), ("1280x720", 161)),
    "stream-exact": (("1280x720", 81), ("832x480", 161)),
    "stream-lean": (("1280x720", 85), ("1920x1088", 17)),
    "stream-lean-exact": (("1280x720", 17), ("832x480", 85)),
    "stream-small": (("1280x720", 81), ("832x480", 165)),
}
WAN_MODELS = ("wan22", "wan22-i2v", "wan22-5b")


def shipped(model: str, profile: str) -> Plan:
    found = reading.load(model)
    chosen = next(each for each in found.profiles if each.name == profile)
    return Plan.build(found, Choice(chosen, (), ()), files=Path("f"), data_dir=Path("d"), threads=2)


def asked_of(made: Plan, **given: Any) -> Request:
    return complete(parse({"prompt": "x"} | given), made, draw_seed=lambda: 1)


@pytest.mark.parametrize("model", ["wan22", "wan22-i2v"])
def test_every_profile_takes_what_was_measured_and_refuses_what_was_not(model: str) -> None:
    for profile, clips in FITTING.items():
        for size, frames in clips:
            asked_of(shipped(model, profile), size=size, num_frames=frames)
    for profile, clips in BEYOND.items():
        for size, frames in clips:
            with pytest.raises(RequestError) as error:
                asked_of(shipped(model, profile), size=size, num_frames=frames)
            assert error.value.fix


@pytest.mark.parametrize("model", WAN_MODELS)
def test_every_profile_makes_its_defaults_and_what_its_refusals_name(model: str) -> None:
    for profile in reading.load(model).profiles:
        made = shipped(model, profile.name)
        values = asked_of(made).values
        room = made.limits.max_pixel_frames
        assert room is not None
        assert made.limits.max_pixels is not None, f"{profile.name} would take one frame of any size"
        assert values["width"] * values["height"] * values["num_frames"] <= room
        longest = limits.most_frames(made.limits)
        assert longest is not None
        step = made.limits.size_multiple
        for odd in (80, 2, longest - 2):
            with pytest.raises(RequestError) as error:
                asked_of(made, num_frames=odd)
            low = (odd - 1) // 4 * 4 + 1
            assert error.value.fix == f"the nearest legal numbers are {low} and {low + 4}"
        with pytest.raises(RequestError, match="multiple"):
            asked_of(made, size=f"{step * 20 + 8}x{step * 15}")
        with pytest.raises(RequestError) as error:
            asked_of(made, width=4096, height=2304, num_frames=longest)
        for size in re.findall(r"[0-9]+x[0-9]+", error.value.fix):
            asked_of(made, size=size, num_frames=5)
        size, frames = f"{values['width']}x{values['height']}", longest
        if values["width"] * values["height"] * frames > room:
            with pytest.raises(RequestError) as error:
                asked_of(made, size=size, num_frames=frames)
            assert error.value.code == "too_large"
            for count, fitting in re.findall(r"([0-9]+) frames at ([0-9]+x[0-9]+)", error.value.fix):
                asked_of(made, size=fitting, num_frames=int(count))
