"""How many connections: as many as the link needs, found soon, whatever a moment looks like."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bootstrap.fetch.transfers.concurrency import Concurrency

MIB = 1024**2


def simulate(
    growth: Concurrency,
    seconds: float,
    *,
    link: float,
    each: float,
    join: float = 0.0,
    start: float = 100,
    swing: Callable[[float], float] = lambda now: 1.0,
) -> list[int]:
    """The targets, every 10 ms, on a link of so many bytes a second that gives each connection at most
    ``each``; a new connection brings nothing for ``join`` seconds."""
    born: list[float] = []
    received, targets = 0.0, []
    for tick in range(int(seconds * 100)):
        now = start + tick / 100
        born = (born + [now] * growth.target)[: growth.target]
        working = sum(now - since > join for since in born)
        received += min(link, working * each) * swing(now - start) / 100
        targets.append(growth.observe(now, int(received), working))
    return targets


@pytest.mark.parametrize(("gbit", "join"), [(4, 0.0), (8, 0.0), (8, 0.3), (16, 0.3)])
def test_a_link_that_limits_each_connection_gets_as_many_as_fill_it(gbit: float, join: float) -> None:
    link, each = gbit * 125e6, 40 * MIB
    targets = simulate(Concurrency(64), 3.0, link=link, each=each, join=join)
    assert targets[-1] * each >= 0.95 * link
    assert targets[-1] <= max(16, 1.4 * link / each)


def test_it_is_found_within_two_seconds() -> None:
    targets = simulate(Concurrency(64), 2.0, link=1e9, each=40 * MIB, join=0.2)
    assert min(targets[190:]) * 40 * MIB >= 0.95e9


def test_where_one_would_do_there_are_few() -> None:
    targets = simulate(Concurrency(64), 20.0, link=12.5e6, each=12.5e6)
    assert max(targets) <= 16
    assert targets[-1] <= 10


def test_one_bad_moment_does_not_end_the_search() -> None:
    def swing(now: float) -> float:
        return 0.3 if 0.25 < now < 0.4 else 1.0

    targets = simulate(Concurrency(64), 3.0, link=1e9, each=40 * MIB, swing=swing)
    assert targets[-1] * 40 * MIB >= 0.95e9


def test_a_link_that_becomes_wider_gets_more() -> None:
    growth = Concurrency(64)
    before = simulate(growth, 3.0, link=0.4e9, each=40 * MIB)[-1]
    after = simulate(growth, 30.0, link=1e9, each=40 * MIB, start=103)[-1]
    assert after >= before * 1.5


def test_a_server_that_has_enough_is_left_half_and_not_asked_for_more_for_a_while() -> None:
    growth = Concurrency(64)
    simulate(growth, 3.0, link=1e9, each=40 * MIB)
    many = growth.target
    growth.slow_down(103.0, 2.0)
    growth.slow_down(103.1, 2.0)  # the same refusal, which another connection got
    assert growth.target == many // 2


def test_a_fixed_number_stays() -> None:
    assert set(simulate(Concurrency(64, fixed=3), 3.0, link=1e9, each=40 * MIB)) == {3}


def test_the_search_ends_where_the_box_allows_no_more() -> None:
    growth = Concurrency(12)
    assert simulate(growth, 3.0, link=1e9, each=1e6)[-1] == 12
    assert not growth.is_looking
