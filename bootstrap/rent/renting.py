"""Renting a box that works: from an order to a service that is ready, on the next offer when one fails."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError
from bootstrap.platforms.market import (
    HostExcluded,
    KeyRefused,
    Market,
    MarketError,
    Offer,
    Rental,
    TooDear,
    Unsettled,
)
from bootstrap.platforms.order import Order
from bootstrap.rent import cost, watch
from bootstrap.rent.blacklist import Blacklist
from bootstrap.rent.cost import Estimate
from bootstrap.rent.download import Adviser, Download
from bootstrap.rent.ledger import Entry, Ledger
from bootstrap.rent.signals import Signalled, Signals
from bootstrap.rent.watch import Leave, NotReady, StillRented
from bootstrap.rent.wish import Wish


@dataclass(frozen=True)
class Desk:
    """What a rental needs: the marketplace, this machine's memory, and somebody who listens."""

    platform: str
    market: Market
    ledger: Ledger
    blacklist: Blacklist
    report: Callable[[str], None]
    signals: Signals = field(default_factory=Signals)
    now: Callable[[], float] = time.time  # seconds since 1970
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    storage_keys: Mapping[str, str] = field(default_factory=dict)  # variables that open a results_url


def candidates(desk: Desk, wish: Wish, manifest: Manifest) -> list[Estimate]:
    """What can be rented now and would do, the cheapest clip first. KitError when nothing can."""
    listed = desk.blacklist.hosts(desk.now())
    excluded = frozenset(each.host for each in listed if each.platform == wish.platform)
    profile = wish.profile_of(manifest)
    disk_gb = Order(manifest=manifest, profile=profile).disk_gb
    found = desk.market.offers(profile.needs, disk_gb, wish.filters(excluded))
    if not found:
        without = f" without {len(excluded)} hosts that failed before" if excluded else ""
        raise KitError(
            f"{desk.market.name} has nothing with {profile.needs.vram_gib:g} GiB up to"
            f" ${wish.max_price:.2f} an hour{without}",
            fix="raise --max-price, ask for less, take a smaller model or profile, or another marketplace",
        )
    return cost.rank(found, manifest, wish.clips)


def rent(
    desk: Desk, wish: Wish, manifest: Manifest, first: Estimate, *, hf_token: str | None, tries: int
) -> Entry:
    """A box that is ready. KitError when ``tries`` offers failed; StillRented when one may go on costing."""
    tried: list[str] = []
    taken: Estimate | None = first
    while taken is not None:
        tried.append(taken.offer.id)
        entry = _ordered(desk, wish, manifest, taken.offer, hf_token)
        ready = entry and _watched(desk, wish, entry)
        if ready:
            return ready
        taken = _next(desk, wish, manifest, tried) if len(tried) < tries else None
    raise KitError(
        f"{len(tried)} offer{'s' if len(tried) > 1 else ''} of {desk.market.name} failed;"
        " nothing is rented now",
        fix="try again, raise --tries or --ready-minutes, or take another marketplace",
    )


def _next(desk: Desk, wish: Wish, manifest: Manifest, tried: list[str]) -> Estimate | None:
    """Asked for anew: minutes have passed, and hosts may have been listed."""
    left = [each for each in candidates(desk, wish, manifest) if each.offer.id not in tried]
    if not left:
        return None
    offer = left[0].offer
    desk.report(f"next offer: {offer.id}, {offer.gpu}, ${offer.dollars_per_hour:.2f} an hour")
    return left[0]


def _ordered(desk: Desk, wish: Wish, manifest: Manifest, offer: Offer, hf_token: str | None) -> Entry | None:
    """Order it; None when it was refused. A signal waits until the answer is written down."""
    token = secrets.token_urlsafe(24)
    order = wish.order(manifest, offer, token, hf_token, desk.storage_keys)
    entry = _planned(wish, offer, order, token, desk.now())
    try:
        with desk.signals.held():
            desk.ledger.add(entry)
            found = _created(desk, wish, offer, order, entry)
    except Signalled as signal:
        raise still_rented(desk.ledger.get(entry.label), signal) from signal
    if found is not None:
        desk.report(f"rented {found.id}; to end it: {watch.stop_line(found.platform, str(found.id))}")
    return found


def _planned(wish: Wish, offer: Offer, order: Order, token: str, now: float) -> Entry:
    return Entry(
        label=order.label,
        platform=wish.platform,
        model=wish.model,
        dollars_per_hour=offer.dollars_per_hour,
        ordered_at=now,
        gpu=offer.gpu,
        gpus=offer.gpus,
        host=offer.host_id,
        port=wish.port,
        token=token,
        deadline=now + wish.hours * 3600 if wish.hours else None,
        idle_stop_minutes=wish.idle_minutes,
        wish=wish.model_dump(mode="json"),
    )


def _created(desk: Desk, wish: Wish, offer: Offer, order: Order, entry: Entry) -> Entry | None:
    label = entry.label
    try:
        rental = desk.market.create(offer, order, wish.filters(_excluded(desk, wish)))
    except (TooDear, HostExcluded) as error:
        desk.ledger.rented(label, error.rental.id, desk.now())
        if not error.ended:
            _end(desk, error.rental, wish.port)
        desk.ledger.left(label, "ended", desk.now())
        desk.report(error.problem)
        return None
    except Unsettled as error:
        raise StillRented(
            entry.platform, label, entry.dollars_per_hour, f"perhaps: {error.problem}"
        ) from error
    except MarketError as error:
        desk.ledger.left(label, "ended", desk.now())
        if isinstance(error, KeyRefused):
            raise
        desk.report(f"offer {offer.id} was refused: {error.problem}")
        return None
    return desk.ledger.rented(label, rental.id, desk.now(), **_known(rental, entry))


def _known(rental: Rental, entry: Entry) -> dict[str, Any]:
    """What the marketplace says better than the offer did."""
    return {
        "dollars_per_hour": rental.dollars_per_hour or entry.dollars_per_hour,
        "host": rental.host_id or entry.host,
        "url": rental.url,
    }


def _excluded(desk: Desk, wish: Wish) -> frozenset[str]:
    listed = desk.blacklist.hosts(desk.now())
    return frozenset(each.host for each in listed if each.platform == wish.platform)


def _watched(desk: Desk, wish: Wish, entry: Entry) -> Entry | None:
    """The box when it is ready; None when it failed and is ended."""
    try:
        ready = watch.until_ready(
            desk.market,
            rental_of(entry),
            port=wish.port,
            minutes=wish.ready_minutes,
            forgiven=("fetch",) if wish.hf_token_later else (),
            downloading=_advising(desk, wish, entry),
            report=desk.report,
            clock=desk.clock,
            sleep=desk.sleep,
        )
    except NotReady as error:
        desk.ledger.left(entry.label, "ended", desk.now())
        desk.report(error.problem)
        if error.is_hosts and entry.host:
            desk.blacklist.add(entry.platform, entry.host, error.problem, desk.now())
            desk.report(f"host {entry.host} is on the black list for 30 days (`kinokit rent blacklist`)")
        return None
    except Signalled as signal:
        raise still_rented(entry, signal) from signal
    except StillRented:
        raise
    except BaseException:
        desk.report(str(watch.still_rented(rental_of(entry), "this command failed")))
        raise
    desk.report(f"ready after {ready.seconds:.0f} s")
    return desk.ledger.change(entry.label, url=ready.url)


def _advising(desk: Desk, wish: Wish, entry: Entry) -> Callable[[Download | None], None]:
    """Says once when another offer is cheaper to the end; where that is wished, ends the box for it."""
    try:
        manifest = reading.load(wish.model)
    except KitError:  # a file that was moved since; the box has its own copy
        return lambda _: None

    def others() -> list[Offer]:
        found = [each.offer for each in candidates(desk, wish, manifest)]
        return [offer for offer in found if offer.host_id is None or offer.host_id != entry.host]

    adviser = Adviser(manifest, entry.dollars_per_hour, others, desk.clock)

    def see(download: Download | None) -> None:
        advice = adviser.see(download)
        if advice is None:
            return
        if wish.leave_slow:
            raise Leave(str(advice))
        desk.report(
            f"{advice}. To take it: {watch.stop_line(entry.platform, str(entry.id))}, then rent again"
        )

    return see


def again(desk: Desk, wish: Wish, entry: Entry) -> Entry:
    """Start a stopped box again and wait until it is ready. NotReady when it was ended instead."""
    assert entry.id is not None
    with desk.signals.held():
        desk.market.resume(entry.id)
        deadline = desk.now() + wish.hours * 3600 if wish.hours else None
        entry = desk.ledger.rented(entry.label, entry.id, desk.now(), deadline=deadline)
    ready = _watched(desk, wish, entry)
    if ready is None:
        raise KitError(
            f"box {entry.id} did not get ready again and was ended", fix="rent another: `kinokit rent start`"
        )
    return ready


def end(desk: Desk, entry: Entry) -> Entry:
    """End it, however often it must be tried. StillRented when the marketplace still lists it."""
    try:
        _end(desk, rental_of(entry), entry.port)
    except Signalled as signal:
        raise still_rented(entry, signal) from signal
    return desk.ledger.left(entry.label, "ended", desk.now())


def _end(desk: Desk, rental: Rental, port: int) -> None:
    watch.end(desk.market, rental, port=port, report=desk.report, clock=desk.clock, sleep=desk.sleep)


def rental_of(entry: Entry) -> Rental:
    """As a marketplace would list it."""
    return Rental(
        entry.platform,
        str(entry.id),
        entry.label,
        "starting",
        "",
        entry.url,
        entry.dollars_per_hour,
        entry.host,
    )


def still_rented(entry: Entry, signal: Signalled) -> KitError:
    if entry.state == "ended":
        error = KitError(f"ended by {signal}; nothing is rented", fix="start again when you like")
        error.exit_code = signal.exit_code
        return error
    name = entry.id or entry.label
    return StillRented(entry.platform, name, entry.dollars_per_hour, f"ended by {signal}", signal.exit_code)
