"""How the looking commands write machines, sites and verdicts on a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bootstrap.choose.catalogue import Entry
from bootstrap.choose.manifest import Licence
from bootstrap.choose.profile import Verdict
from bootstrap.detect.machine import GIB, Finding, Gpu, Machine, counted
from bootstrap.launch.forecast import Forecast
from bootstrap.launch.location import Location
from bootstrap.torch_build.decision import Decision

UNKNOWN = "not known"
COLUMNS = 80


def table(rows: Sequence[tuple[str, str]], *, columns: int = COLUMNS) -> list[str]:
    """Two columns; a name is written once for the rows that share it, and a long value goes on below."""
    width = max(len(name) for name, _ in rows)
    written = ""
    lines = []
    for name, value in rows:
        lines += wrapped(value, first=f"{name if name != written else '':<{width}}  ", columns=columns)
        written = name
    return lines


def wrapped(text: str, *, first: str = "", columns: int = COLUMNS) -> list[str]:
    """Lines that fit the terminal, the next ones below the text of the first. An address is never broken."""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first.rstrip()]


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """Everything that was detected; what could not be read is said to be not known."""
    rows = [("gpu", line) for card in _cards(machine.gpus) for line in card] or [("gpu", "none")]
    if machine.driver_version:
        cuda = f"CUDA up to {_version(machine.cuda_version)}" if machine.cuda_version else "CUDA not known"
        rows.append(("driver", f"{machine.driver_version}, {cuda}"))
    quota = f"{machine.cpu_quota:g} cores granted, " if machine.cpu_quota else ""
    pids = f", at most {machine.pids_max} processes" if machine.pids_max else ""
    rows.append(("cpu", f"{quota}{machine.cpu_visible or UNKNOWN} cores visible{pids}"))
    free = f", {size(machine.ram_available_bytes)} free" if machine.ram_available_bytes else ""
    rows.append(("memory", f"{size(machine.ram_limit_bytes)}{free}"))
    if machine.granted_share and machine.gpus_of_host:
        here = round(machine.granted_share * machine.gpus_of_host)
        rows.append(
            ("memory", f"granted for {here} of the host's {machine.gpus_of_host} GPUs, as the cores are")
        )
    if machine.swap_bytes:
        rows.append(("memory", f"{size(machine.swap_bytes)} of swap, which no model may use"))
    rate = machine.disk_write_bytes_per_second
    wrote = f", writes {rate / 1e6:.0f} MB/s" if rate else ""
    free = UNKNOWN if machine.disk_free_bytes is None else f"{size(machine.disk_free_bytes)} free"
    rows.append(("disk", f"{free}{wrote} at {machine.disk_path or UNKNOWN}"))
    return rows


def site_rows(site: Location) -> list[tuple[str, str]]:
    """The platform, and the address that people use."""
    cut = site.platform.PROXY_TIMEOUT_SECONDS
    proxy = f", whose proxy cuts requests after {cut:g} s" if cut else ""
    return [
        ("platform", f"{site.platform.TITLE}{proxy}"),
        ("address", site.public_url or "not known before the first request"),
    ]


def licence(licence: Licence, *, token_missing: bool) -> str:
    """What is agreed to by downloading, and what a gated model still needs."""
    gate = ""
    if licence.gated:
        gate = f"; gated: accept it at {licence.accept_url}"
        gate += " and set HF_TOKEN, which is not set" if token_missing else ", HF_TOKEN is set"
    return f"{licence.id} ({licence.url}){gate}"


def download(entry: Entry) -> str:
    """What is still to be fetched."""
    count = len(entry.manifest.files)
    if entry.missing_bytes == 0:
        return f"nothing, all {count} files are there"
    part = (
        ""
        if entry.missing_bytes == entry.manifest.download_bytes
        else f" of {size(entry.manifest.download_bytes)}"
    )
    return f"{size(entry.missing_bytes)}{part}, {count} files"


def torch(decided: Decision) -> list[tuple[str, str]]:
    """Which one, and what is given up against the newest."""
    rows = [("torch", decided.title)]
    build = decided.build
    if build is not None:
        rows += [("torch", f"gives up {lost}") for lost in build.gives_up]
    if build is not None and not build.measured:
        rows.append(("torch", "times and memory were measured with a newer one, not with this"))
    return rows


def finding(finding: Finding) -> list[str]:
    problem = wrapped(f"{finding.problem} ({finding.code})", first="! ")
    return problem + wrapped(f"fix: {finding.fix}", first="  ")


def verdict(verdict: Verdict, *, is_taken: bool) -> list[str]:
    """One profile: taken, would fit, or why not."""
    profile = verdict.profile
    mark = "->" if is_taken else "ok" if verdict.fits else "no"
    unmeasured = "" if profile.measured or profile.needs.device == "cpu" else " (not measured yet)"
    lines = wrapped(f"{profile.name}: {profile.title}{unmeasured}", first=f"{mark} ")
    return lines + wrapped("; ".join(verdict.reasons), first="     ")


def forecast(said: Forecast) -> list[str]:
    """How long it will take and what it will cost until the first clip; what nobody knows is said."""
    link = f"{said.link_bytes_per_second * 8 / 1e6:.0f} Mbit/s" if said.link_bytes_per_second else UNKNOWN
    rows = [
        (
            "link",
            f"{link}, {said.basis['link']}" if said.link_bytes_per_second else f"{link}: give --link 1gbit",
        ),
        ("download", _download(said)),
        ("load", f"{_seconds(said.load_seconds)} ({said.basis['load']})"),
        ("ready", f"{_seconds(said.ready_seconds)} after the command"),
        ("first clip", _first_clip(said)),
    ]
    if said.clip_seconds is not None:
        rows.append(("a clip", _clip(said, said.clip_seconds)))
    if said.dollars is not None:
        rows.append(("cost", f"${said.dollars:.3f} until the first clip is there"))
    return ["", "forecast", *(f"  {line}" for line in table(rows, columns=COLUMNS - 2))]


def _download(said: Forecast) -> str:
    parts = [_seconds(said.download_seconds)]
    if said.packages_bytes:
        parts.append(f"{size(said.packages_bytes)} of Python packages included")
    if said.basis["download"] == "the disk's rate":
        parts.append("which is what the disk takes")
    return ", ".join(parts)


def _first_clip(said: Forecast) -> str:
    if said.first_clip_seconds is None:
        return f"{UNKNOWN}: nobody measured this model on this card"
    return f"{_seconds(said.first_clip_seconds)} ({said.basis['first_clip']})"


def _clip(said: Forecast, seconds: float) -> str:
    """What each one after the first takes and costs, and what of it the link to the card adds."""
    money = f", ${said.clip_dollars:.4f}" if said.clip_dollars is not None else ""
    waits = said.clip_link_seconds or 0.0
    link = f", {_seconds(waits)} of it because of {said.pcie}" if waits >= 0.1 else ""
    return f"{_seconds(seconds)}{money}{link} ({said.basis['clip']})"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return UNKNOWN
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def size(count: int | None) -> str:
    """Bytes for people: "35.4 GiB", "14 MiB"."""
    if count is None:
        return UNKNOWN
    if count >= GIB:
        return f"{count / GIB:.1f} GiB"
    return f"{count / 1024**2:.0f} MiB"


def _cards(gpus: Sequence[Gpu]) -> list[list[str]]:
    """One entry for all cards of a kind: its lines, with their number before the first."""
    return [card.split("\n") for card in counted("\n".join(_gpu(gpu)) for gpu in gpus)]


def _gpu(gpu: Gpu) -> list[str]:
    """The card and its memory; how fast it can be fed, where that is known."""
    capability = _version(gpu.compute_capability) if gpu.compute_capability else UNKNOWN
    memory = f"{size(gpu.vram_free_bytes)} of {size(gpu.vram_total_bytes)} free"
    way = []
    if gpu.pcie:
        way.append(f"{gpu.pcie}, about {gpu.pcie.bytes_per_second / 1e9:.1f} GB/s")
    if gpu.compute_share is not None and gpu.compute_share < 1:
        way.append(f"{gpu.compute_share:.0%} of the card's multiprocessors")
    if gpu.power_limit_watts:
        way.append(f"{gpu.power_limit_watts:.0f} W")
    lines = [f"{gpu.name}, {memory}, compute capability {capability}"]
    return [*lines, ", ".join(way)] if way else lines


def _version(pair: tuple[int, int] | None) -> str:
    return UNKNOWN if pair is None else f"{pair[0]}.{pair[1]}"
