"""``kinokit startup``: what to paste and type on a marketplace. Runs on your machine, rents nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bootstrap.choose import parcel, reading
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.commands import published
from bootstrap.commands import ssh_key as public_key
from bootstrap.commands.published import Config, Image, ScriptUrl, Source
from bootstrap.platforms import gate, registry
from bootstrap.platforms.order import Order, profile_to_rent

MARKETPLACES = ", ".join(registry.named("form"))


def startup(
    platform: Annotated[str, typer.Option(help=f"One of {MARKETPLACES}.")],
    model: Annotated[str, typer.Option(help="Which model to run.")] = "wan22",
    service: Annotated[str, typer.Option(help="api, or ui for the studio as well.")] = "ui",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the service.")] = 8000,
    profile: Annotated[
        str | None, typer.Option(help="A profile of the model, for the filters; the smallest when absent.")
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="The token that the service will ask for; made at the first boot when absent."),
    ] = None,
    ssh_key: Annotated[Path | None, typer.Option(help="A public key file, for 22/tcp.")] = None,
    hf_token: Annotated[
        str | None,
        typer.Option(help="For a gated model, into the order, where the machine's owner reads it."),
    ] = None,
    image: Image = None,
    source: Source = None,
    script_url: ScriptUrl = None,
    config: Config = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The call of the marketplace's API instead.")
    ] = False,
) -> None:
    """Print what to paste, and what to type into each field of the marketplace's form."""
    make_form = registry.form(platform)
    manifest = reading.load(model)
    own = parcel.pack(model, manifest)
    box_image, kit = published.find(image, source, script_url, config)
    order = Order(
        manifest=manifest,
        profile=profile_to_rent(manifest, profile),
        service=service,
        port=port,
        image=box_image,
        model=own.model,
        extra_env=own.variables,
        script_url=kit.script_url,
        script_sha256=kit.script_sha256,
        source=kit.source,
        api_key=key,
        ssh_key=public_key.read(ssh_key),
        hf_token=hf_token,
    )
    form = make_form(order)
    of_gate = gate.notes(manifest, hf_token, platform)
    if as_json:
        for note in (*of_gate, *kit.notes):
            typer.echo(f"note: {note}", err=True)
        typer.echo(json.dumps({"method": form.method, "url": form.url, "body": form.body}, indent=2))
        return
    notes = (
        *gate.notes(manifest, hf_token, platform),
        *kit.notes,
        *form.notes,
        *([] if profile else _quicker(manifest, order.profile)),
    )
    typer.echo(replace(form, notes=notes).text())


def _quicker(manifest: Manifest, chosen: Profile) -> list[str]:
    """The filters are the smallest profile's, as those of `kinokit rent`: more memory is quicker."""
    same_cards = [
        each for each in manifest.profiles if each.needs.compute_capability == chosen.needs.compute_capability
    ]
    more = [each for each in same_cards if each.needs.vram_gib > chosen.needs.vram_gib]
    if not more:
        return []
    named = ", ".join(f"{each.name} ({each.needs.vram_gib:g} GiB)" for each in more)
    return [
        f"the filters are those of the smallest profile, {chosen.name} ({chosen.needs.vram_gib:g} GiB of GPU"
        f" memory); for a larger and quicker GPU give --profile with one of {named}"
    ]
