"""``kinokit rent start``: a box from an offer, watched until it is ready; the next offer when it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bootstrap.choose import reading
from bootstrap.commands import published
from bootstrap.commands.published import Config, Image, ScriptUrl, Source
from bootstrap.commands.rent import account, boxes, keep, offers, options, reuse
from bootstrap.commands.rent.options import (
    Clips,
    Gpus,
    HfToken,
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
from bootstrap.commands.rent.output import AsJson, Output, Yes
from bootstrap.errors import KitError
from bootstrap.platforms import gate, registry
from bootstrap.rent import renting, signals, wish
from bootstrap.rent.ledger import Entry
from bootstrap.rent.renting import Desk
from bootstrap.rent.wish import HOURS, IDLE_MINUTES, READY_MINUTES, Wish

Hours = Annotated[
    float, typer.Option(min=0, help="The box is stopped after so many hours, busy or not; 0: never.")
]
IdleMinutes = Annotated[
    float, typer.Option(min=0, help="It is stopped after so many minutes without work; 0: never.")
]


def start(
    platform: Platform = "vast",
    model: Model = "wan22",
    max_price: MaxPrice = 3.0,
    clips: Clips = 20,
    profile: ProfileName = None,
    offer: Annotated[str | None, typer.Option(help="An offer's id; the cheapest clip when absent.")] = None,
    region: Region = None,
    gpus: Gpus = 1,
    min_pcie: MinPcie = None,
    min_link: MinLink = options.LINK,
    min_disk_rate: MinDiskRate = None,
    min_reliability: MinReliability = options.RELIABILITY,
    interruptible: Interruptible = False,
    hours: Hours = HOURS,
    idle_minutes: IdleMinutes = IDLE_MINUTES,
    tries: Annotated[int, typer.Option(min=1, help="Offers that are tried, one after the other.")] = 3,
    service: Annotated[str, typer.Option(help="api or ui.")] = "ui",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    hf_token: HfToken = None,
    hf_token_later: Annotated[
        bool, typer.Option("--hf-token-later", help="Your account's secrets or the boot page give it.")
    ] = False,
    results_url: Annotated[
        str | None,
        typer.Option(help="Where the box copies clips: s3://BUCKET/FOLDER, with this shell's AWS_ keys."),
    ] = None,
    image: Image = None,
    source: Source = None,
    script_url: ScriptUrl = None,
    config: Config = None,
    ready_minutes: Annotated[
        float, typer.Option(help="End the rental when it is not ready by then.")
    ] = READY_MINUTES,
    leave_slow: Annotated[
        bool,
        typer.Option("--leave-slow", help="At 1 % of the download: move where another offer is cheaper."),
    ] = False,
    reuse_stopped: Annotated[
        bool, typer.Option("--reuse", help="Take a stopped box of this model when it is cheaper.")
    ] = False,
    watch: Annotated[
        Path | None,
        typer.Option(help="Then watch it as `kinokit rent watch` does, with clips into this folder."),
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Rent a box, wait until it is ready, print its address. Ends it when it does not get ready."""
    output = Output(as_json)
    box_image, kit = published.find(image, source, script_url, config)
    for note in kit.notes:
        output.say(f"note: {note}")
    if results_url:
        output.say("note: the machine's owner can read the storage's keys: take some that write there alone")
    wanted = Wish(
        platform=platform,
        model=model,
        profile=profile,
        max_price=max_price,
        clips=clips,
        service=service,
        port=port,
        image=box_image,
        script_url=kit.script_url,
        script_sha256=kit.script_sha256,
        source=kit.source,
        hours=hours or None,
        idle_minutes=idle_minutes or None,
        ready_minutes=ready_minutes,
        leave_slow=leave_slow,
        hf_token_later=hf_token_later,
        results_url=results_url,
        interruptible=interruptible,
        regions=options.regions(region),
        gpus=gpus,
        min_pcie=min_pcie,
        min_link=min_link,
        min_disk_rate=min_disk_rate,
        min_reliability=min_reliability,
    )
    with signals.caught(output.say) as caught:
        desk = account.desk(platform, output.say, caught)
        box = _rented(desk, wanted, offer, hf_token, tries, reuse_stopped, yes, output)
        output.result(boxes.document(box, links=True), f"{box.link}\nIt costs money until you end it.")
        if watch is not None:
            output.say(keep.keep(desk, box, watch, output, replaces=None, hf_token=hf_token))


def _rented(
    desk: Desk,
    wanted: Wish,
    offer: str | None,
    hf_token: str | None,
    tries: int,
    reuse_stopped: bool,
    yes: bool,
    output: Output,
) -> Entry:
    manifest = reading.load(wanted.model)
    wish.check_licence(manifest, hf_token, wanted)
    for note in gate.notes(manifest, hf_token, wanted.platform):
        output.say(f"note: {note}")
    boxes.warn_of_others(desk, output)
    ranked = renting.candidates(desk, wanted, manifest)
    for note in desk.market.notes:
        output.say(f"note: {note}")
    taken = offers.taken(ranked, offer, wanted.max_price)
    stopped = reuse.cheaper(desk, wanted, taken)
    if stopped is not None and reuse.agreed(stopped, taken, output, reuse_stopped, yes):
        return renting.again(desk, wanted, stopped.entry)
    output.say(offers.table([taken], wanted.clips))
    output.say(terms(wanted))
    if not output.agreed(f"Rent it for ${taken.offer.dollars_per_hour:.2f} an hour?", yes):
        raise KitError("nothing was rented", fix="give --yes, or choose with --offer")
    return renting.rent(desk, wanted, manifest, taken, hf_token=hf_token, tries=tries)


def terms(wanted: Wish) -> str:
    """When it ends by itself, and who sees to it."""
    idle = f"after {wanted.idle_minutes:g} minutes without work" if wanted.idle_minutes else ""
    most = (wanted.hours or 0) * wanted.max_price
    late = f"after {wanted.hours:g} hours (at most ${most:.2f})" if wanted.hours else ""
    when = " or ".join(part for part in (idle, late) if part)
    if not when:
        return "It is not stopped by itself: --hours and --idle-minutes are 0."
    platform = registry.PLATFORMS[wanted.platform]
    if platform.STOPS_ITSELF:
        return f"The box stops itself {when}; what is stopped still pays for its disk."
    return f"{platform.TITLE} lets no box stop itself: `kinokit rent watch` ends it {late or when}."
