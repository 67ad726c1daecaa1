"""From a rental to a service that is ready, or to the rental's end: no box costs money unwatched."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import httpx

from bootstrap.errors import KitError
from bootstrap.platforms.market import Market, Rental

POLL_SECONDS = 5.0


@dataclass(frozen=True)
class Ready:
    """The service answers; ``seconds`` since the watch began."""

    url: str
    seconds: float


def until_ready(
    market: Market,
    rental: Rental,
    *,
    port: int,
    minutes: float,
    report: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Ready:
    """Wait for ``/readyz``; end the rental and raise KitError when it takes longer than ``minutes``.

    ``report`` receives a line at each change. Marketplaces answer 502 or "Proxy Not Found" while nothing is
    bound yet. A failed boot shows on ``/readyz`` and ends the wait.
    """
    start, last, failed = clock(), "", ""
    while clock() - start < minutes * 60 and not failed:
        url = _address(market, rental, port)
        seen, ready, failed = _look(url) if url else ("no address yet", False, "")
        if ready and url:
            return Ready(url, clock() - start)
        if seen != last:
            report(f"{clock() - start:5.0f} s  {seen}")
            last = seen
        sleep(POLL_SECONDS)
    market.destroy(rental.id)
    raise KitError(
        f"{market.name} rental {rental.id} did not get ready: {failed or f'{minutes:g} minutes passed'}"
        f" (last seen: {last})",
        fix="the rental was ended and costs nothing more; take another offer, or give --ready-minutes more",
    )


def _address(market: Market, rental: Rental, port: int) -> str | None:
    """The address of now: it appears late, and may change."""
    for each in market.rentals(port):
        if each.id == rental.id:
            return each.url
    return None


def _look(url: str) -> tuple[str, bool, str]:
    """The answer of the health URL in a few words, whether it is ready, and why it failed."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=10, follow_redirects=False)
    except httpx.TransportError as error:
        return f"no answer ({type(error).__name__})", False, ""
    if answer.status_code == 200:
        return "ready", True, ""
    try:
        body = answer.json()
        state = str(body["state"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code}: the container is not up yet", False, ""
    progress = body.get("progress")
    seen = f"{state} {progress:.0%}" if isinstance(progress, float) else state
    return seen, False, "its boot failed" if state == "failed" else ""
