"""``kinokit plan``: this machine, this model, and what would be done. Touches nothing."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from bootstrap import __version__, detect, fetch, settings
from bootstrap.choose import catalogue, prices, reading
from bootstrap.choose.catalogue import Entry
from bootstrap.choose.profile import Verdict
from bootstrap.commands import text
from bootstrap.detect import gpu_torch, threads, whatif
from bootstrap.detect.machine import Machine
from bootstrap.errors import KitError
from bootstrap.launch import forecast, history, location, packages
from bootstrap.launch.forecast import Forecast
from bootstrap.launch.location import Location
from bootstrap.settings import Settings
from bootstrap.torch_build.decision import Decision


def plan(
    model: Annotated[
        str | None, typer.Option(help="A shipped model, or a manifest's path or https URL.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    gpu: Annotated[
        list[str] | None,
        typer.Option(
            help="What if: a GPU as 'RTX 4090', 24gib:8.9, or 20/24gib:8.9 with 20 free; once for each; none."
        ),
    ] = None,
    ram: Annotated[str | None, typer.Option(help="What if: host memory, e.g. 64gib.")] = None,
    disk: Annotated[str | None, typer.Option(help="What if: free disk, e.g. 100gib.")] = None,
    cpus: Annotated[float | None, typer.Option(help="What if: CPU cores.")] = None,
    pcie: Annotated[str | None, typer.Option(help="What if: the GPU's link, e.g. 4x16 or 3x1.")] = None,
    driver: Annotated[str | None, typer.Option(help="What if: the NVIDIA driver, e.g. 550.")] = None,
    profile: Annotated[str | None, typer.Option(help="Judge this profile alone.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where models and clips are kept.")] = None,
    platform: Annotated[str | None, typer.Option(help="Take this marketplace as given.")] = None,
    config: Annotated[Path | None, typer.Option(help="A YAML file of settings.")] = None,
    link: Annotated[
        str | None, typer.Option(help="The download's speed, e.g. 1gbit; else as the last boot measured it.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="US dollars an hour, for the cost.")] = None,
) -> None:
    """Show this machine and each profile of the model, and why it fits or not. Touches nothing."""
    flags = {"model": model, "profile": profile, "data_dir": data_dir, "platform": platform}
    chosen = settings.load(flags, os.environ, config).settings
    here = location.of(chosen, os.environ)
    machine = detect.read_machine(os.environ, here.data_dir, is_rented=here.platform.IS_RENTED)
    described = [_described(each) for each in gpu or ()]
    machine = whatif.machine(machine, gpus=described, ram=ram, disk=disk, cpus=cpus, pcie=pcie, driver=driver)
    wanted = reading.load(chosen.model)
    names = [each.name for each in wanted.profiles]
    if chosen.profile is not None and chosen.profile not in names:
        raise KitError(
            f"{wanted.name} has no profile {chosen.profile!r}", fix=f"choose one of {', '.join(names)}"
        )
    missing = fetch.missing_in(here.data_dir)
    judged = catalogue.entry(wanted, machine, missing, profile=chosen.profile)
    dollars = price if price is not None else chosen.hourly_cost
    said = _forecast(judged, machine, here, link, dollars, chosen.service)
    machine = replace(machine, findings=(*machine.findings, *(forecast.findings(said) if said else ())))
    refusal = None if judged.choice.profile else catalogue.refusal(judged, machine, missing)
    if as_json:
        document = _document(judged, machine, here, chosen, refusal)
        document["forecast"] = asdict(said) if said else None
        typer.echo(json.dumps(document, indent=2))
        raise typer.Exit(refusal.exit_code if refusal else 0)
    typer.echo("\n".join(_lines(judged, machine, here, chosen) + (text.forecast(said) if said else [])))
    if refusal:
        typer.echo("")
        raise refusal


def _described(gpu: str) -> str:
    """A card of the price list by its memory and capability, so that its name alone will do."""
    card = next((each for each in prices.load().gpus if each.name.lower() == gpu.strip().lower()), None)
    if card is None:
        return gpu
    free = card.vram_gib * prices.USABLE_SHARE
    return f"{free:g}/{card.vram_gib:g}gib:{card.compute_capability:.1f}:{card.name}"


def _forecast(
    judged: Entry, machine: Machine, here: Location, link: str | None, price: float | None, service: str
) -> Forecast | None:
    """None when nothing fits: there is nothing to wait for."""
    profile = judged.choice.profile
    given = forecast.link(link) if link else None
    if profile is None:
        return None
    torch = gpu_torch.decide_for(machine, judged.choice.gpu_groups)
    return forecast.predict(
        judged.manifest,
        profile,
        forecast.Host.of(machine, judged),
        missing_bytes=0 if judged.manifest.source.folder else judged.missing_bytes,
        packages_bytes=forecast.packages_bytes(file.name for file in packages.missing(service, torch)),
        link_bytes_per_second=given,
        dollars_per_hour=price,
        boots=history.last(here.data_dir),
    )


def _document(
    judged: Entry, machine: Machine, here: Location, chosen: Settings, refusal: KitError | None
) -> dict[str, Any]:
    """The whole plan for programs; sizes in bytes, GiB only where the manifest says GiB."""
    model, choice = judged.manifest, judged.choice
    return {
        "kit_version": __version__,
        "fits": choice.profile is not None,
        "profile": choice.profile.name if choice.profile else None,
        "gpu_groups": [[gpu.uuid for gpu in group] for group in choice.gpu_groups],
        "workers": _workers(judged),
        "threads": threads.count(machine, workers=max(1, _workers(judged))),
        "model": {
            "name": model.name,
            "title": model.title,
            "family": model.family.name,
            "inputs": model.inputs,
            "licence": model.licence.model_dump(),
            "token_missing": _token_missing(judged, chosen),
            "bytes": model.download_bytes,
            "missing_bytes": judged.missing_bytes,
        },
        "machine": asdict(machine),
        "platform": {
            "name": here.platform.NAME,
            "public_url": here.public_url,
            "data_dir": str(here.data_dir),
            "proxy_timeout_seconds": here.platform.PROXY_TIMEOUT_SECONDS,
            "stop": here.platform.stop(os.environ).description,
        },
        "profiles": [_verdict_document(verdict) for verdict in choice.verdicts],
        "torch": _torch_document(judged, machine),
        "disk_problem": choice.disk_problem,
        "idle_gpus": choice.idle_gpus,
        "passed_over": choice.passed_over,
        "refusal": {"problem": refusal.problem, "fix": refusal.fix} if refusal else None,
    }


def _verdict_document(verdict: Verdict) -> dict[str, Any]:
    return {
        **verdict.profile.model_dump(exclude={"limits"}),
        "fits": verdict.fits,
        "lacks": sorted(verdict.lacks),
        "reasons": verdict.reasons,
    }


def _torch(judged: Entry, machine: Machine) -> Decision | None:
    """The one for the chosen GPUs; None when nothing fits."""
    if judged.choice.profile is None:
        return None
    return gpu_torch.decide_for(machine, judged.choice.gpu_groups)


def _torch_document(judged: Entry, machine: Machine) -> dict[str, Any] | None:
    decided = _torch(judged, machine)
    if decided is None:
        return None
    build = decided.build
    return {
        "action": decided.action,
        "title": decided.title,
        "requirements": decided.requirements,
        "there": decided.there.version if decided.there else None,
        "gives_up": build.gives_up if build else (),
        "measured": build.measured if build else None,
    }


def _workers(judged: Entry) -> int:
    """One for each group of GPUs; one on the CPU; none when nothing fits."""
    if judged.choice.profile is None:
        return 0
    return max(1, len(judged.choice.gpu_groups))


def _token_missing(judged: Entry, chosen: Settings) -> bool:
    return judged.manifest.licence.gated and chosen.hf_token is None


def _lines(judged: Entry, machine: Machine, here: Location, chosen: Settings) -> list[str]:
    model, choice = judged.manifest, judged.choice
    rows = [
        *text.machine_rows(machine),
        *text.site_rows(here),
        ("model", f"{model.name}: {model.title}"),
        ("licence", text.licence(model.licence, token_missing=_token_missing(judged, chosen))),
        ("download", text.download(judged)),
    ]
    decided = _torch(judged, machine)
    rows += text.torch(decided) if decided else []
    lines = text.table(rows)
    lines += [line for finding in machine.findings for line in text.finding(finding)]
    lines.append("")
    for verdict in choice.verdicts:
        lines += text.verdict(verdict, is_taken=verdict.profile == choice.profile)
    if choice.profile is not None:
        lines += ["", *text.wrapped(_conclusion(judged, machine))]
        lines += [line for why in (choice.passed_over, choice.idle_gpus) if why for line in text.wrapped(why)]
    return lines


def _conclusion(judged: Entry, machine: Machine) -> str:
    profile, workers = judged.choice.profile, _workers(judged)
    assert profile is not None
    where = (
        "the CPU" if profile.needs.device == "cpu" else f"{workers} GPU worker{'s' if workers > 1 else ''}"
    )
    count = threads.count(machine, workers=workers)
    return f"{judged.manifest.name} runs as {profile.name} on {where}, {count} threads each"
