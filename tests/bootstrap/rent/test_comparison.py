"""Rent, own or an API: the sums add up, and the break-even is where the two cost the same."""

from __future__ import annotations

import pytest
import typer
from typer.testing import CliRunner

from bootstrap.choose import prices, reading
from bootstrap.commands.cost import cost, verdict
from bootstrap.errors import KitError
from bootstrap.rent import comparison
from bootstrap.rent.comparison import Row


def rows(clips: int, model: str = "wan22") -> list[Row]:
    return comparison.rows(reading.load(model), clips, prices.load(), comparison.load())


@pytest.mark.parametrize("clips", [1, 50, 1000])
def test_every_total_is_the_clips_times_one(clips: int) -> None:
    found = rows(clips)
    assert {row.way for row in found} == {"rent", "own", "api"}
    for row in found:
        assert row.total_dollars == pytest.approx(row.dollars_per_clip * clips)
        assert row.dollars_per_clip > 0


def test_a_longer_session_makes_rented_clips_cheaper_and_api_clips_not() -> None:
    one = {row.name: row for row in rows(1) if row.way != "own"}
    many = {row.name: row for row in rows(100) if row.way != "own"}
    for name, row in one.items():
        if row.way == "rent":
            assert many[name].dollars_per_clip < row.dollars_per_clip
        else:
            assert many[name].dollars_per_clip == row.dollars_per_clip


@pytest.mark.parametrize("clips", [7, 400])
def test_at_the_break_even_the_session_costs_what_the_api_costs(clips: int) -> None:
    found = rows(clips)
    rented = next(row for row in found if row.way == "rent")
    api = next(row for row in found if row.way == "api")
    even = comparison.session_break_even(rented, api, clips)
    assert even is not None
    same = {row.name: row for row in rows(even)}[rented.name]
    before = {row.name: row for row in rows(max(even - 1, 1))}[rented.name]
    assert same.dollars_per_clip < api.dollars_per_clip
    assert even == 1 or before.dollars_per_clip >= api.dollars_per_clip


def test_a_card_that_rents_for_less_than_its_electricity_never_pays_for_itself() -> None:
    card = comparison.load().own[0]
    assert comparison.break_even_hours(card, prices.load(), kwh=100.0) is None
    hours = comparison.break_even_hours(card, prices.load(), kwh=0.2)
    assert hours is not None
    assert 1000 < hours < 20000


def test_an_api_that_is_cheaper_for_ever_is_said_to_be() -> None:
    cheap = Row("api", "Gift", 0.0, 0.0, "")
    rented = Row("rent", "H200", 0.1, 1.0, "", ready_dollars=0.5)
    assert "stays cheaper" in verdict([cheap, rented], 10)


def test_the_command_prints_all_three_ways_and_a_verdict() -> None:
    app = typer.Typer()
    app.command()(cost)
    result = CliRunner().invoke(app, ["--model", "wan22", "--clips", "100"])
    assert result.exit_code == 0, result.output
    for word in ("rent", "own", "api", "a session on a rented", "H200"):
        assert word in result.output


@pytest.mark.parametrize("model", ["wan22", "wan22-i2v", "svd", "svd-xt"])
def test_the_comparison_fits_eighty_columns_and_tells_measured_from_predicted(model: str) -> None:
    app = typer.Typer()
    app.command()(cost)
    lines = CliRunner().invoke(app, ["--model", model, "--clips", "1000"]).output.splitlines()
    assert max(map(len, lines)) <= 80
    row = {" ".join(line.split()[:3]): line for line in lines if line.startswith(("rent", "own", "api"))}
    assert "~" in row["rent RTX 4090"]
    assert "~" not in next(line for line in lines if line.startswith("rent  H200"))
    ways = [line.split()[0] for line in lines if line.startswith(("rent ", "own  ", "api "))]
    assert ways[-1] == "own"  # its price is the electricity alone: it stands behind what is paid in full


@pytest.mark.parametrize(
    ("model", "reason"),
    [("demo", "demo needs no GPU"), ("wan22-5b", "nobody has measured how long wan22-5b")],
)
def test_a_model_that_cannot_be_compared_is_refused_with_the_reason(model: str, reason: str) -> None:
    with pytest.raises(KitError, match=reason):
        cost(model, clips=50, kwh=None)
