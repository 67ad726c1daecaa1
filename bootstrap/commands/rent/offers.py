"""``kinokit rent offers``: what can be rented now, ranked by what a clip costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from bootstrap.choose import reading
from bootstrap.commands.rent import account, options
from bootstrap.commands.rent.options import (
    Clips,
    Gpus,
    Interruptible,
    MaxPrice,
    MinDiskRate,
    MinLink,
    MinPcie,
    MinReliability,
    Model,
    Platform,
    ProfileName,
    Region,
)
from bootstrap.commands.rent.output import AsJson, Output
from bootstrap.errors import KitError
from bootstrap.launch.forecast import SLOW_PCIE_SHARE
from bootstrap.rent import renting
from bootstrap.rent.cost import Estimate
from bootstrap.rent.signals import Signals
from bootstrap.rent.wish import Wish


def offers(
    platform: Platform = "vast",
    model: Model = "wan22",
    max_price: MaxPrice = 3.0,
    clips: Clips = 20,
    profile: ProfileName = None,
    region: Region = None,
    gpus: Gpus = 1,
    min_pcie: MinPcie = None,
    min_link: MinLink = options.LINK,
    min_disk_rate: MinDiskRate = None,
    min_reliability: MinReliability = options.RELIABILITY,
    interruptible: Interruptible = False,
    limit: Annotated[int, typer.Option(min=1)] = 15,
    as_json: AsJson = False,
) -> None:
    """List what can be rented now and fits, cheapest clip first. Rents nothing."""
    output = Output(as_json)
    wish = Wish(
        platform=platform,
        model=model,
        profile=profile,
        max_price=max_price,
        clips=clips,
        interruptible=interruptible,
        regions=options.regions(region),
        gpus=gpus,
        min_pcie=min_pcie,
        min_link=min_link,
        min_disk_rate=min_disk_rate,
        min_reliability=min_reliability,
    )
    desk = account.desk(platform, output.say, Signals())
    found = renting.candidates(desk, wish, reading.load(model))[:limit]
    for note in desk.market.notes:
        output.say(f"note: {note}")
    output.result([document(each) for each in found], table(found, clips))


def document(each: Estimate) -> dict[str, Any]:
    """An estimate with its offer, as JSON has it."""
    offer = {name: value for name, value in asdict(each.offer).items() if name != "terms"}
    return {**{name: value for name, value in asdict(each).items() if name != "offer"}, "offer": offer}


def table(ranked: list[Estimate], clips: int) -> str:
    """One line an offer: what it is, what it costs, when it is ready."""
    wide = max([12, *(len(each.offer.id) for each in ranked)])  # whole: it is typed after --offer
    titles = f"{'GPU':<24} {'GiB':>4} {'$/h':>6} {'Mbit/s':>7} {'ready':>7} {'clip':>7} {'$/clip':>7}"
    lines = [f"{'id':<{wide}} {titles}"]
    for each in ranked:
        offer = each.offer
        link = f"{offer.down_mbps:.0f}" if offer.down_mbps else "?"
        clip = f"{'' if each.is_measured else '~'}{each.clip_seconds:.0f} s" if each.clip_seconds else "?"
        ready = f"{each.ready_seconds / 60:.0f} min"
        dollars = f"{each.dollars_per_clip:.3f}" if each.dollars_per_clip else "?"
        lines.append(
            f"{offer.id:<{wide}} {offer.gpus}x {offer.gpu:<21.21} {offer.vram_gib:>4.0f}"
            f" {offer.dollars_per_hour:>6.2f} {link:>7} {ready:>7} {clip:>7} {dollars:>7}"
        )
    lines.append(f"per clip of {clips}, start and download shared; ~ is predicted from an H200's time")
    lines += [
        f"{each.offer.id}: {each.clip_link_seconds:.0f} s of each clip wait for weights through"
        f" {each.offer.pcie_gb_per_second:.1f} GB/s,"
        f" ${each.clip_link_seconds / 3600 * each.offer.dollars_per_hour:.3f} of it"
        for each in ranked
        if each.clip_seconds and each.clip_link_seconds >= SLOW_PCIE_SHARE * each.clip_seconds
    ]
    return "\n".join(lines)


def taken(ranked: list[Estimate], id: str | None, max_price: float) -> Estimate:
    """The offer that was named, else the cheapest clip. KitError when it is not among them."""
    if id is None:
        return ranked[0]
    for each in ranked:
        if each.offer.id == id:
            return each
    raise KitError(
        f"offer {id} is gone, does not fit, or costs more than ${max_price:.2f} an hour",
        fix="list the offers again with `kinokit rent offers`",
    )
