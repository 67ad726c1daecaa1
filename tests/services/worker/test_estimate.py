"""How far a clip is, and how long it still takes."""

from __future__ import annotations

import pytest

from services.worker.estimate import Estimate

STAGES = ("encode", "sample", "decode")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def run(estimate: Estimate, clock: Clock, seconds: dict[str, float]) -> list[tuple[float, float | None]]:
    """A clip whose stages take these seconds, in ten reports each; progress and ETA at each."""
    reports = []
    for stage, whole in seconds.items():
        for done in range(11):
            estimate.advance(stage, done, 10)
            reports.append((estimate.progress, estimate.eta_seconds))
            clock.now += whole / 10 if done < 10 else 0
    return reports


def test_progress_never_goes_back_and_ends_below_one() -> None:
    clock = Clock()
    reports = run(Estimate({}, stages=STAGES, clock=clock), clock, {"encode": 1, "sample": 5, "decode": 9})
    progress = [each for each, _ in reports]
    assert progress == sorted(progress)
    assert 0.9 < progress[-1] < 1


def test_the_second_clip_knows_how_long_the_stages_take() -> None:
    clock, shares, seconds = Clock(), dict[str, float](), {"encode": 1.0, "sample": 2.0, "decode": 17.0}
    first = Estimate(shares, stages=STAGES, clock=clock)
    run(first, clock, seconds)
    assert first.finish() == pytest.approx(seconds)
    started = clock.now
    second = Estimate(shares, stages=STAGES, clock=clock)
    for progress, eta in run(second, clock, seconds)[12:22]:  # while it samples
        assert eta == pytest.approx(20 - progress * 20, rel=0.15)
    assert clock.now - started == pytest.approx(20)


def test_a_stage_of_unknown_length_is_no_division_by_zero() -> None:
    estimate = Estimate({}, stages=STAGES, clock=Clock())
    estimate.advance("load", 0, 0)
    estimate.advance("interpolate", 3, 4)
    assert 0 <= estimate.progress < 1


def test_stages_that_run_at_the_same_time_have_their_own_seconds() -> None:
    clock = Clock()
    estimate = Estimate({}, stages=("decode", "file"), clock=clock)
    for number in range(1, 5):
        with estimate.inside("file"):
            with estimate.inside("decode"):
                estimate.advance("decode", number, 4)
                clock.now += 2
            clock.now += 1
            estimate.advance("file", number, 4)
    assert estimate.finish() == pytest.approx({"decode": 8.0, "file": 4.0})


def test_the_stage_to_show_is_the_longest_of_those_that_run() -> None:
    estimate = Estimate({"decode": 0.1, "enlarge": 0.6}, stages=("decode", "enlarge"), clock=Clock())
    estimate.advance("decode", 1, 4)
    assert estimate.stage == "decode"
    estimate.advance("enlarge", 1, 4)
    assert estimate.stage == "enlarge"
    estimate.advance("decode", 2, 4)
    assert estimate.stage == "enlarge"
    estimate.advance("enlarge", 4, 4)
    assert estimate.stage == "decode"
