"""``kinokit rent offers``: what can be rented now, ranked by what a clip costs."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.commands.rent import account
from bootstrap.commands.rent.options import Clips, MaxPrice, Model, Platform, ProfileName
from bootstrap.errors import KitError
from bootstrap.launch.forecast import SLOW_PCIE_SHARE
from bootstrap.platforms.market import Market
from bootstrap.platforms.order import Order, profile_to_rent
from bootstrap.rent import cost
from bootstrap.rent.cost import Estimate


def offers(
    platform: Platform = "vast",
    model: Model = "wan22",
    max_price: MaxPrice = 3.0,
    clips: Clips = 20,
    profile: ProfileName = None,
    limit: Annotated[int, typer.Option(min=1)] = 15,
) -> None:
    """List what can be rented now and fits, cheapest clip first. Rents nothing."""
    manifest = reading.load(model)
    found = ranked(account.market(platform), manifest, profile_of(manifest, profile), max_price, clips)
    typer.echo(table(found[:limit], clips))


def table(ranked: list[Estimate], clips: int) -> str:
    """One line an offer: what it is, what it costs, when it is ready."""
    lines = [
        f"{'id':<12} {'GPU':<24} {'GiB':>4} {'$/h':>6} {'Mbit/s':>7} {'ready':>7} {'clip':>7} {'$/clip':>7}"
    ]
    for each in ranked:
        offer = each.offer
        link = f"{offer.down_mbps:.0f}" if offer.down_mbps else "?"
        clip = f"{'' if each.is_measured else '~'}{each.clip_seconds:.0f} s" if each.clip_seconds else "?"
        ready = f"{each.ready_seconds / 60:.0f} min"
        dollars = f"{each.dollars_per_clip:.3f}" if each.dollars_per_clip else "?"
        lines.append(
            f"{offer.id:<12.12} {offer.gpus}x {offer.gpu:<21.21} {offer.vram_gib:>4.0f}"
            f" {offer.dollars_per_hour:>6.2f} {link:>7} {ready:>7} {clip:>7} {dollars:>7}"
        )
    lines.append(f"per clip of {clips}, start and download shared; ~ is predicted from an H200's time")
    lines += [
        f"{each.offer.id}: {each.clip_link_seconds:.0f} s of each clip wait for weights through"
        f" {each.offer.pcie_gb_per_second:.1f} GB/s"
        for each in ranked
        if each.clip_seconds and each.clip_link_seconds >= SLOW_PCIE_SHARE * each.clip_seconds
    ]
    return "\n".join(lines)


def profile_of(manifest: Manifest, name: str | None) -> Profile:
    """The same rule as that of `kinokit startup`."""
    return profile_to_rent(manifest, name)


def ranked(
    market: Market, manifest: Manifest, profile: Profile, max_price: float, clips: int
) -> list[Estimate]:
    order = Order(manifest=manifest, profile=profile)
    found = [
        each for each in market.offers(profile.needs, order.disk_gb) if each.dollars_per_hour <= max_price
    ]
    if not found:
        raise KitError(
            f"{market.name} has nothing with {profile.needs.vram_gib:g} GiB up to ${max_price:.2f} an hour",
            fix="raise --max-price, take a smaller model or profile, or try another marketplace",
        )
    return cost.rank(found, manifest, clips)


def taken(ranked: list[Estimate], id: str | None, max_price: float) -> Estimate:
    if id is None:
        return ranked[0]
    for each in ranked:
        if each.offer.id == id:
            return each
    raise KitError(
        f"offer {id} is gone, does not fit, or costs more than ${max_price:.2f} an hour",
        fix="list the offers again with `kinokit rent offers`",
    )
