"""``kinokit rent start``: a box from an offer, watched until it is ready."""

from __future__ import annotations

import secrets
from typing import Annotated

import typer

from bootstrap.choose import parcel, reading
from bootstrap.commands import published
from bootstrap.commands.published import Config, Image, ScriptUrl, Source
from bootstrap.commands.rent import account, offers
from bootstrap.commands.rent.options import Clips, MaxPrice, Model, Platform, ProfileName
from bootstrap.errors import KitError
from bootstrap.platforms import gate
from bootstrap.platforms.market import Market, Rental
from bootstrap.platforms.order import Order
from bootstrap.rent import watch


def start(
    platform: Platform = "vast",
    model: Model = "wan22",
    max_price: MaxPrice = 3.0,
    clips: Clips = 20,
    profile: ProfileName = None,
    offer: Annotated[str | None, typer.Option(help="An offer's id; the cheapest clip when absent.")] = None,
    service: Annotated[str, typer.Option(help="api or ui.")] = "ui",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    hf_token: Annotated[
        str | None, typer.Option(help="For a gated model; the owner of the machine can read it.")
    ] = None,
    image: Image = None,
    source: Source = None,
    script_url: ScriptUrl = None,
    config: Config = None,
    ready_minutes: Annotated[float, typer.Option(help="End the rental when it is not ready by then.")] = 40,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")] = False,
) -> None:
    """Rent a box, wait until it is ready, print its address. Ends it when it does not get ready."""
    manifest, market = reading.load(model), account.market(platform)
    own = parcel.pack(model, manifest)
    box_image, kit = published.find(image, source, script_url, config)
    for note in (*gate.notes(manifest, hf_token, platform), *kit.notes):
        typer.echo(f"note: {note}")
    chosen = offers.profile_of(manifest, profile)
    ranked = offers.ranked(market, manifest, chosen, max_price, clips)
    taken = offers.taken(ranked, offer, max_price)
    typer.echo(offers.table([taken], clips))
    if not yes and not typer.confirm(f"Rent it for ${taken.offer.dollars_per_hour:.2f} an hour?"):
        raise KitError("nothing was rented", fix="give --yes, or choose with --offer")
    key = secrets.token_urlsafe(24)
    order = Order(
        manifest=manifest,
        profile=chosen,
        service=service,
        port=port,
        image=box_image,
        model=own.model,
        extra_env=own.variables,
        script_url=kit.script_url,
        script_sha256=kit.script_sha256,
        source=kit.source,
        api_key=key,
        hf_token=hf_token,
    )
    rental = market.create(taken.offer, order)
    typer.echo(f"rented {rental.id}; to end it: kinokit rent stop {rental.id} --platform {platform}")
    ready = _watched(market, rental, port, ready_minutes, taken.offer.dollars_per_hour)
    typer.echo(f"ready after {ready.seconds:.0f} s: {ready.url}/?token={key}")
    typer.echo("It costs money until you end it.")


def _watched(market: Market, rental: Rental, port: int, minutes: float, dollars: float) -> watch.Ready:
    """Until it is ready. Ctrl-C leaves it rented, and its price on the screen."""
    try:
        return watch.until_ready(market, rental, port=port, minutes=minutes, report=typer.echo)
    except KeyboardInterrupt:
        typer.echo(f"{rental.id} is still rented and costs ${dollars:.2f} an hour")
        raise
