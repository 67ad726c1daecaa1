"""From a rental to a service that is ready, or to the rental's end: no box costs money unwatched."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

import httpx

from bootstrap.errors import KitError
from bootstrap.platforms.market import Market, Rental
from bootstrap.rent.download import Download

POLL_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0
ANSWER_MINUTES = 15.0  # a container that did not answer by then never did, on any marketplace
END_MINUTES = 30.0
BAD_LOOKS = 3  # a marketplace that forgets a box once has often only hiccuped
LOST = ("stopped", "interrupted", "ended")  # what a marketplace says of a box that will not get ready
HOSTS_PHASES = ("detect",)  # a boot that fails there fails by the host

Clock = Callable[[], float]
Sleep = Callable[[float], None]
Report = Callable[[str], None]


@dataclass(frozen=True)
class Ready:
    """The service answers; ``seconds`` since the watch began."""

    url: str
    seconds: float


class NotReady(KitError):
    """It did not get ready, and was ended. ``is_hosts``: another host may do better, this one will not."""

    def __init__(self, problem: str, *, is_hosts: bool) -> None:
        fix = "the rental was ended and costs nothing more; take another offer, or give --ready-minutes more"
        super().__init__(problem, fix=fix)
        self.is_hosts = is_hosts


class StillRented(KitError):
    """A box may go on costing money. The first thing to read, and the line that ends it."""

    def __init__(
        self, platform: str, id: str, dollars_per_hour: float | None, reason: str, exit_code: int = 1
    ) -> None:
        price = "price not known" if dollars_per_hour is None else f"${dollars_per_hour:.2f}/h"
        super().__init__(
            f"STILL RENTED, {price}: box {id} on {platform} ({reason})", fix=stop_line(platform, id)
        )
        self.exit_code = exit_code


def stop_line(platform: str, id: str) -> str:
    """What a person types to end it."""
    return f"kinokit rent stop {id} --platform {platform}"


@dataclass(frozen=True)
class Answer:
    """What the health URL says."""

    seen: str  # in a few words
    is_up: bool = False  # the kit answers, and not the marketplace's proxy
    is_ready: bool = False
    failed: str = ""  # why the boot failed
    phase: str = ""
    download: Download | None = None


class Leave(Exception):
    """Raised by ``downloading`` of ``until_ready``: the box is to be ended, and why."""


def until_ready(
    market: Market,
    rental: Rental,
    *,
    port: int,
    minutes: float,
    report: Report,
    answer_minutes: float = ANSWER_MINUTES,
    forgiven: Collection[str] = (),
    downloading: Callable[[Download | None], None] = lambda _: None,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> Ready:
    """Wait for ``/readyz``; end the rental and raise NotReady when it takes longer than ``minutes``.

    ``report`` receives a line at each change. Marketplaces answer 502 or "Proxy Not Found" while nothing is
    bound yet. A marketplace that does not answer is asked again, less and less often. A boot that fails in a
    ``forgiven`` phase is waited for: a person may mend it on the boot page. ``downloading`` receives what the
    box says of its download at each look, and raises Leave to end it. StillRented when the end cannot be
    confirmed.
    """
    box = _Box(market, rental, port)
    start, last, ever_up, leaves, answer = clock(), "", False, False, Answer("no address yet")
    while True:
        passed = clock() - start
        answer = box.look()
        if answer.is_ready and box.url:
            return Ready(box.url, passed)
        ever_up = ever_up or answer.is_up
        if answer.seen != last:
            report(f"{passed:5.0f} s  {answer.seen}")
            last = answer.seen
        failed = "" if answer.phase in forgiven else answer.failed
        try:
            downloading(answer.download)
        except Leave as reason_to_leave:
            failed, leaves = str(reason_to_leave), True
        reason = failed or _too_long(passed / 60, minutes, answer_minutes, ever_up)
        if reason:
            break
        sleep(box.pause)
    end(market, rental, port=port, report=report, clock=clock, sleep=sleep)
    raise NotReady(
        f"{market.name} rental {rental.id} did not get ready: {reason} (last seen: {last})",
        is_hosts=leaves or not ever_up or answer.phase in HOSTS_PHASES,
    )


def _too_long(passed: float, minutes: float, answer_minutes: float, ever_up: bool) -> str:
    if passed >= minutes:
        return f"{minutes:g} minutes passed"
    return f"no answer within {answer_minutes:g} minutes" if passed >= answer_minutes and not ever_up else ""


class _Box:
    """The rental as it is seen from here: by the marketplace's list, then by its own answer."""

    def __init__(self, market: Market, rental: Rental, port: int) -> None:
        self._market, self._id, self._port = market, rental.id, port
        self.url: str | None = None
        self.pause = POLL_SECONDS
        self._was_listed = False
        self._bad_looks = 0

    def look(self) -> Answer:
        """The address is asked for anew each time: it appears late, and may change."""
        try:
            listed = {each.id: each for each in self._market.rentals(self._port)}
        except KitError as error:
            self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)
            # The box itself may well answer while its marketplace does not.
            own = look(self.url) if self.url else Answer("no address yet")
            return own if own.is_ready else Answer(f"{error.problem}; asked again", own.is_up)
        self.pause = POLL_SECONDS
        found = listed.get(self._id)
        lost = self._lost(found)
        self._bad_looks = self._bad_looks + 1 if lost else 0
        if self._bad_looks >= BAD_LOOKS:
            return Answer(lost, failed=lost)
        self.url = found.url if found and found.url else self.url
        return look(self.url) if self.url else Answer("no address yet")

    def _lost(self, found: Rental | None) -> str:
        """Why nothing more is to be hoped for, if the next looks say the same."""
        if found is None:
            return f"{self._market.name} no longer lists it" if self._was_listed else ""
        self._was_listed = True
        return f"{self._market.name} says {found.state}" if found.state in LOST else ""


def look(url: str) -> Answer:
    """Ask ``/readyz`` once."""
    try:
        answer = httpx.get(f"{url}/readyz", timeout=10, follow_redirects=False)
    except (httpx.TransportError, httpx.InvalidURL) as error:
        return Answer(f"no answer ({type(error).__name__})")
    if answer.status_code == 200:
        return Answer("ready", is_up=True, is_ready=True)
    try:
        body = answer.json()
        state, phase = str(body["state"]), str(body.get("phase") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Answer(f"{answer.status_code}: the container is not up yet")
    progress = body.get("progress")
    seen = f"{state} {progress:.0%}" if isinstance(progress, float) else state
    failed = "its boot failed" if state == "failed" else ""
    return Answer(seen, is_up=True, failed=failed, phase=phase, download=Download.of(body))


def end(
    market: Market,
    rental: Rental,
    *,
    port: int,
    report: Report,
    minutes: float = END_MINUTES,
    clock: Clock = time.monotonic,
    sleep: Sleep = time.sleep,
) -> None:
    """Destroy it until the marketplace no longer lists it. StillRented when it does after ``minutes``."""
    start, pause = clock(), 1.0
    market.known_ids.add(rental.id)  # one that is gone meanwhile, by another hand, is ended and not unknown
    while True:
        try:
            market.destroy(rental.id)
            if all(each.id != rental.id for each in market.rentals(port)):
                return
            problem = f"{market.name} still lists it"
        except KitError as error:
            problem = error.problem
        if clock() - start >= minutes * 60:
            raise still_rented(rental, f"it could not be ended: {problem}")
        report(f"{rental.id} is not ended yet: {problem}; tried again")
        sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def still_rented(rental: Rental, reason: str, exit_code: int = 1) -> StillRented:
    return StillRented(rental.platform, rental.id, rental.dollars_per_hour, reason, exit_code)
