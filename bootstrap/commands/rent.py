"""``kinokit rent``: offers ranked by what a clip costs, a box from one of them, and its end."""

from __future__ import annotations

import os
import secrets
from typing import Annotated

import typer

from bootstrap.choose import reading
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.errors import KitError
from bootstrap.platforms import registry
from bootstrap.platforms.market import Market, Rental
from bootstrap.platforms.order import IMAGE, SCRIPT_URL, SOURCE, Order
from bootstrap.rent import cost, watch
from bootstrap.rent.cost import Estimate

TITLES = [registry.PLATFORMS[name].TITLE for name in registry.named("market")]

app = typer.Typer(help=f"Rent a GPU with your own key, from your own machine: on {', '.join(TITLES)}.")

Platform = Annotated[str, typer.Option(help=f"One of {', '.join(registry.named('market'))}.")]
Model = Annotated[str, typer.Option(help="Which model to run.")]
MaxPrice = Annotated[float, typer.Option(help="Dollars an hour that no offer may exceed.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of the session, for the cost of one.")]
ProfileName = Annotated[str | None, typer.Option(help="A profile of the model; the smallest when absent.")]


@app.command()
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
    ranked = _ranked(_market(platform), manifest, _profile(manifest, profile), max_price, clips)
    typer.echo(table(ranked[:limit], clips))


@app.command()
def start(
    platform: Platform = "vast",
    model: Model = "wan22",
    max_price: MaxPrice = 3.0,
    clips: Clips = 20,
    profile: ProfileName = None,
    offer: Annotated[str | None, typer.Option(help="An offer's id; the cheapest clip when absent.")] = None,
    service: Annotated[str, typer.Option(help="api or ui.")] = "ui",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
    hf_token: Annotated[str | None, typer.Option(envvar="HF_TOKEN")] = None,
    image: Annotated[str, typer.Option()] = IMAGE,
    source: Annotated[str, typer.Option()] = SOURCE,
    script_url: Annotated[str, typer.Option()] = SCRIPT_URL,
    ready_minutes: Annotated[float, typer.Option(help="End the rental when it is not ready by then.")] = 40,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before money is spent.")] = False,
) -> None:
    """Rent a box, wait until it is ready, print its address. Ends it when it does not get ready."""
    manifest, market = reading.load(model), _market(platform)
    chosen = _profile(manifest, profile)
    ranked = _ranked(market, manifest, chosen, max_price, clips)
    taken = _taken(ranked, offer, max_price)
    typer.echo(table([taken], clips))
    if not yes and not typer.confirm(f"Rent it for ${taken.offer.dollars_per_hour:.2f} an hour?"):
        raise KitError("nothing was rented", fix="give --yes, or choose with --offer")
    key = secrets.token_urlsafe(24)
    order = Order(
        manifest=manifest,
        profile=chosen,
        service=service,
        port=port,
        image=image,
        script_url=script_url or None,
        source=source,
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


@app.command("list")
def list_(platform: Platform = "vast", port: Annotated[int, typer.Option()] = 8000) -> None:
    """Show what is being paid for."""
    rentals = _market(platform).rentals(port)
    for each in rentals:
        price = f"${each.dollars_per_hour:.2f}/h" if each.dollars_per_hour else ""
        typer.echo(f"{each.id}  {each.label}  {each.state}  {each.url or 'no address yet'}  {price}")
    if not rentals:
        typer.echo("nothing is rented")


@app.command()
def stop(id: str, platform: Platform = "vast") -> None:
    """End a rental and its costs; its disk is gone with it."""
    market = _market(platform)
    market.destroy(id)
    if any(each.id == id for each in market.rentals()):
        raise KitError(
            f"{market.name} still lists {id}",
            fix="end it on the marketplace's site, to avoid accumulating charges",
        )
    typer.echo(f"{id} is ended")


def table(ranked: list[Estimate], clips: int) -> str:
    """One line an offer: what it is, what it costs, when it is ready."""
    lines = [
        f"{'id':<12} {'GPU':<24} {'GiB':>4} {'$/h':>6} {'Mbit/s':>7} {'ready':>7} {'clip':>7} {'$/clip':>7}"
    ]
    for each in ranked:
        offer = each.offer
        link = f"{offer.down_mbps:.0f}" if offer.down_mbps else "?"
        clip = f"{each.clip_seconds:.0f} s" if each.clip_seconds else "?"
        ready = f"{each.ready_seconds / 60:.0f} min"
        dollars = f"{each.dollars_per_clip:.3f}" if each.dollars_per_clip else "?"
        lines.append(
            f"{offer.id:<12.12} {offer.gpus}x {offer.gpu:<21.21} {offer.vram_gib:>4.0f}"
            f" {offer.dollars_per_hour:>6.2f} {link:>7} {ready:>7} {clip:>7} {dollars:>7}"
        )
    lines.append(f"per clip of {clips}, start and download shared; clip times are scaled from an H200")
    return "\n".join(lines)


def _market(platform: str) -> Market:
    client = registry.market(platform)
    variable = client.key_variable
    key = os.environ.get(variable)
    if not key:
        raise KitError(
            f"{variable} is not set", fix=f"make a key on the marketplace's site, then export {variable}=…"
        )
    return client(key, os.environ.get(f"{variable}_ADDRESS"))


def _profile(manifest: Manifest, name: str | None) -> Profile:
    cards = [profile for profile in manifest.profiles if profile.needs.device == "cuda"]
    found = [profile for profile in cards if name is None or profile.name == name]
    if not found:
        known = ", ".join(profile.name for profile in cards)
        raise KitError(f"{manifest.name} has no GPU profile {name!r}", fix=f"use one of {known}")
    return min(found, key=lambda profile: profile.needs.vram_gib)


def _ranked(
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


def _taken(ranked: list[Estimate], id: str | None, max_price: float) -> Estimate:
    if id is None:
        return ranked[0]
    for each in ranked:
        if each.offer.id == id:
            return each
    raise KitError(
        f"offer {id} is gone, does not fit, or costs more than ${max_price:.2f} an hour",
        fix="list the offers again with `kinokit rent offers`",
    )
