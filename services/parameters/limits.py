"""Which sizes and lengths a model makes: pure functions of a plan's limits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bootstrap.choose.plan import Limits
from services.parameters.error import RequestError

Size = tuple[int, int]  # width, height in pixels

SECONDS_STRETCH = 1.2  # a length is rounded to what the model makes, never cut down to a part of it
SMALLEST_SIDE = 64
SHOWN = 3  # legal sizes that an error names


def parse_size(text: str) -> Size:
    """``"832x480"`` to ``(832, 480)``."""
    width, _, height = text.partition("x")
    return int(width), int(height)


def size(
    given: Mapping[str, Any],
    limits: Limits,
    *,
    default: Size,
    image_size: Size | None,
    warnings: list[str],
) -> Size:
    """The size asked for by ``size`` or ``width`` and ``height``, else the default as the photo lies.

    Raises ``RequestError`` naming the nearest legal sizes.
    """
    asked = _asked_size(given)
    if asked is None:
        return _default_size(default, limits, image_size, warnings)
    problem = _size_problem(asked, limits)
    if problem is None:
        return asked
    near = ", ".join(f"{width}x{height}" for width, height in nearest_sizes(asked, limits))
    param = "size" if "size" in given else "width" if "width" in given else "height"
    raise RequestError(problem, fix=f"the nearest legal sizes are {near}", param=param)


def _asked_size(given: Mapping[str, Any]) -> Size | None:
    sides = (given.get("width"), given.get("height"))
    if "size" in given:
        asked = parse_size(given["size"])
        for name, side, wanted in zip(("width", "height"), sides, asked, strict=True):
            if side is not None and side != wanted:
                raise RequestError(
                    f"size {given['size']} and {name} {side} contradict each other",
                    fix=f"give size alone, or {name} {wanted}",
                    param=name,
                )
        return asked
    if sides == (None, None):
        return None
    if None in sides:
        missing = "width" if sides[0] is None else "height"
        raise RequestError(f"{missing} is missing", fix="give width and height, or size", param=missing)
    return int(sides[0] or 0), int(sides[1] or 0)


def _default_size(default: Size, limits: Limits, image_size: Size | None, warnings: list[str]) -> Size:
    if image_size is not None and (image_size[0] < image_size[1]) != (default[0] < default[1]):
        turned = (default[1], default[0])
        if image_size[0] != image_size[1] and _size_problem(turned, limits) is None:
            default = turned
    if _size_problem(default, limits) is None:
        return default
    fitting = nearest_sizes(default, limits)[0]
    warnings.append(
        f"{default[0]}x{default[1]} is too large for this machine: made at {fitting[0]}x{fitting[1]}"
    )
    return fitting


def _size_problem(asked: Size, limits: Limits) -> str | None:
    width, height = asked
    name = f"{width}x{height}"
    if limits.sizes:
        return None if name in limits.sizes else f"{name} is not a size of this model"
    step = limits.size_multiple
    if width % step or height % step:
        return f"{name}: width and height must be multiples of {step}"
    if min(asked) < SMALLEST_SIDE:
        return f"{name}: no side may be shorter than {SMALLEST_SIDE}"
    if limits.max_pixels is not None and width * height > limits.max_pixels:
        return f"{name} is {width * height} pixels a frame; at most {limits.max_pixels} fit"
    return None


def nearest_sizes(asked: Size, limits: Limits) -> list[Size]:
    """Up to three legal sizes, the nearest first: in shape and in area."""
    candidates = [parse_size(text) for text in limits.sizes] or _grid(asked, limits)
    return sorted(candidates, key=lambda size: _distance(size, asked))[:SHOWN]


def _grid(asked: Size, limits: Limits) -> list[Size]:
    """Legal sizes around the one asked for, shrunk to what fits."""
    step = limits.size_multiple
    low = math.ceil(SMALLEST_SIDE / step) * step
    room = limits.max_pixels or asked[0] * asked[1] * 4
    shrink = min(1.0, math.sqrt(room / (asked[0] * asked[1])))
    found = set()
    for across in (math.floor, math.ceil):
        for down in (math.floor, math.ceil):
            width = max(across(asked[0] * shrink / step) * step, low)
            height = max(down(asked[1] * shrink / step) * step, low)
            found.add((width, height))
    return [size for size in found if size[0] * size[1] <= room] or [(low, low)]


def _distance(size: Size, asked: Size) -> float:
    shape = abs(math.log(size[0] / size[1]) - math.log(asked[0] / asked[1]))
    area = abs(math.log(size[0] * size[1]) - math.log(asked[0] * asked[1]))
    return 2 * shape + area


def frames(given: Mapping[str, Any], limits: Limits, *, default: int, fps: int, warnings: list[str]) -> int:
    """The number of frames asked for by ``num_frames``, or the legal one nearest to ``seconds``.

    Raises ``RequestError`` naming the two nearest legal numbers, or the longest clip.
    """
    asked = given.get("num_frames")
    seconds = given.get("seconds")
    if asked is not None:
        if not _legal_frames(asked, limits):
            raise RequestError(
                f"{asked} frames: {frames_rule(limits)}",
                fix=f"the nearest legal numbers are {' and '.join(map(str, nearest_frames(asked, limits)))}",
                param="num_frames",
            )
        if seconds is not None and abs(asked / fps - seconds) >= 1:
            warnings.append(
                f"num_frames wins over seconds: {asked} frames at {fps} fps are {asked / fps:.2f} s"
            )
        return int(asked)
    if seconds is not None:
        return _from_seconds(seconds, limits, fps, warnings)
    if _legal_frames(default, limits):
        return default
    fitting = max((n for n in nearest_frames(default, limits) if n <= default), default=_shortest(limits))
    warnings.append(f"{default} frames are too many for this machine: made with {fitting}")
    return fitting


def _from_seconds(seconds: float, limits: Limits, fps: int, warnings: list[str]) -> int:
    wanted = seconds * fps
    longest = most_frames(limits)
    if longest is not None and wanted > longest * SECONDS_STRETCH:
        raise RequestError(
            f"{seconds:g} s at {fps} fps are {wanted:.0f} frames; this model makes at most {longest}",
            fix=f"ask for at most {longest / fps:.1f} s" + _slower(seconds, longest),
            param="seconds",
        )
    chosen = min(nearest_frames(max(round(wanted), 1), limits), key=lambda n: abs(n - wanted))
    if abs(chosen - wanted) >= 1:
        warnings.append(f"{seconds:g} s became {chosen} frames at {fps} fps: {chosen / fps:.2f} s")
    return chosen


def _slower(seconds: float, longest: int) -> str:
    fps = math.floor(longest / seconds)
    return f", or fps {fps}" if fps >= 6 else ""


def frames_rule(limits: Limits) -> str:
    """What numbers of frames are legal, in words."""
    if limits.frames:
        return f"this model makes {' or '.join(map(str, limits.frames))} frames"
    most = f", at most {limits.max_frames}" if limits.max_frames else ""
    if limits.frame_step == 1:
        return f"any number is legal{most}"
    return f"legal numbers are 1 + k x {limits.frame_step}{most}"


def nearest_frames(asked: int, limits: Limits) -> list[int]:
    """The legal numbers next to ``asked``, lower first; one where there is no other side."""
    if limits.frames:
        below = [n for n in limits.frames if n <= asked]
        above = [n for n in limits.frames if n > asked]
        return [*([max(below)] if below else []), *([min(above)] if above else [])]
    step, most = limits.frame_step, limits.max_frames
    below_asked = 1 + (max(asked, 1) - 1) // step * step
    if most is not None and below_asked >= 1 + (most - 1) // step * step:
        return [1 + (most - 1) // step * step]
    return [below_asked] if below_asked == asked else [below_asked, below_asked + step]


def most_frames(limits: Limits) -> int | None:
    if limits.frames:
        return max(limits.frames)
    return None if limits.max_frames is None else nearest_frames(limits.max_frames, limits)[0]


def _shortest(limits: Limits) -> int:
    return min(limits.frames, default=1)


def _legal_frames(count: int, limits: Limits) -> bool:
    if limits.frames:
        return count in limits.frames
    return (count - 1) % limits.frame_step == 0 and (limits.max_frames is None or count <= limits.max_frames)


def check_memory(width: int, height: int, count: int, limits: Limits) -> None:
    """Refuse what would not fit, before it starts; the error names what does. Raises ``RequestError``."""
    room = limits.max_pixel_frames
    if room is None or width * height * count <= room:
        return
    fitting = room // (width * height)
    options = []
    shorter = [n for n in nearest_frames(fitting, limits) if n <= fitting] if fitting >= 1 else []
    if shorter:
        options.append(f"{max(shorter)} frames at {width}x{height}")
    smaller = _smaller(width, height, room // count, limits)
    if smaller is not None:
        options.append(f"{count} frames at {smaller[0]}x{smaller[1]}")
    raise RequestError(
        f"{width}x{height} with {count} frames needs more memory than this machine has "
        f"({width * height * count / 1e6:.0f} million pixels; {room / 1e6:.0f} fit)",
        fix=f"these fit: {', '.join(options)}" if options else "ask for a smaller size and fewer frames",
        param="size",
        code="too_large",
    )


def _smaller(width: int, height: int, room: int, limits: Limits) -> Size | None:
    tight = limits.model_copy(update={"max_pixels": min(room, limits.max_pixels or room)})
    if limits.sizes:
        fitting = [size for size in map(parse_size, limits.sizes) if size[0] * size[1] <= room]
    else:
        fitting = [size for size in _grid((width, height), tight) if size[0] * size[1] <= room]
    return min(fitting, key=lambda size: _distance(size, (width, height)), default=None)
