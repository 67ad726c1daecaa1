"""What the first bytes of a download say about its rest, and when a rented box is to be left."""

from __future__ import annotations

import io

import pytest

from bootstrap.fetch import Progress
from bootstrap.launch import forecast, link
from bootstrap.launch.document import BootDocument
from bootstrap.launch.link import Link, Measured
from bootstrap.terminal import Terminal

USUAL = forecast.rates().usual
WHOLE = 38_000_000_000


def after(seconds: float, rate: float, *, had: int = 0, price: float | None = 0.40) -> Measured | None:
    """A download of 38 GB that came at ``rate``, looked at four times a second; what is said at the end."""
    now = 0.0
    watch = Link(USUAL, packages_bytes=3_000_000_000, dollars_per_hour=price, clock=lambda: now)
    said = None
    for quarter in range(int(seconds * 4) + 1):
        now = quarter / 4
        said = watch.see(Progress(min(WHOLE, had + int(rate * now)), WHOLE, None, None, (), None))
    return said


def test_a_host_of_60_mbit_is_found_out_in_its_first_minute() -> None:
    said = after(60, 7.5e6)
    assert said is not None
    assert said.eta_seconds == pytest.approx((WHOLE - 450e6) / 7.5e6)
    assert said.usual_seconds == pytest.approx(240 + 41e9 / 60e6)
    assert said.dollars == pytest.approx(said.eta_seconds / 3600 * 0.40)
    told = link.finding(said, USUAL, stop="stop the instance on cloud.vast.ai")
    assert told is not None
    assert told.code == "slow_link"
    for words in ("60 Mbit/s", "83 min, $0.56", "15 min, $0.10"):
        assert words in told.problem
    for words in ("kinokit rent stop", "stop the instance on cloud.vast.ai"):
        assert words in told.fix


@pytest.mark.parametrize(
    ("seconds", "rate"),
    [
        (5, 7.5e6),  # connections are still being opened
        (9, 500e6),
        (30, 7.5e6),  # half of a hundredth
    ],
)
def test_nothing_is_said_before_enough_has_come(seconds: float, rate: float) -> None:
    assert after(seconds, rate) is None


def test_a_link_that_brings_nothing_is_slow_after_a_minute() -> None:
    said = after(60, 0.0)
    assert said is not None
    assert link.finding(said, USUAL, stop="stop it") is not None


@pytest.mark.parametrize(
    ("rate", "had"),
    [
        (60e6, 0),  # usual
        (30e6, 0),  # 21 minutes against 15: not worth a move
        (7.5e6, int(WHOLE * 0.9)),  # almost done
    ],
)
def test_a_link_that_is_worth_waiting_for_is_left_alone(rate: float, had: int) -> None:
    said = after(60, rate, had=had)
    assert said is not None
    assert link.finding(said, USUAL, stop="stop it") is None


def test_what_was_on_the_disk_is_no_proof_of_the_link() -> None:
    said = after(60, 7.5e6, had=WHOLE // 2)
    assert said is not None
    assert said.bytes_per_second == pytest.approx(7.5e6)


def test_without_a_price_there_are_seconds_and_no_dollars() -> None:
    said = after(60, 7.5e6, price=None)
    assert said is not None
    told = link.finding(said, USUAL, stop="stop it")
    assert told is not None
    assert "$" not in told.problem


def test_a_finished_download_has_nothing_left_to_say() -> None:
    assert after(60, 1e9) is None


def test_the_document_and_the_terminal_show_a_finding_once_and_it_can_be_withdrawn() -> None:
    said = after(60, 7.5e6)
    assert said is not None
    told = link.finding(said, USUAL, stop="stop it")
    assert told is not None
    document, out = BootDocument(None), io.StringIO()
    terminal = Terminal(out)
    for _ in range(2):
        document.find_more(told)
        terminal.show(document.snapshot())
    assert [each["code"] for each in document.snapshot()["findings"]] == ["slow_link"]
    assert out.getvalue().count("! the download comes at 60 Mbit/s") == 1
    document.withdraw("slow_link")
    assert document.snapshot()["findings"] == []
