"""How the looking commands write machines, sites and verdicts on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from bootstrap.choose.catalogue import Entry
from bootstrap.choose.manifest import Licence
from bootstrap.choose.profile import Verdict
from bootstrap.detect.machine import GIB, Finding, Gpu, Machine
from bootstrap.launch.forecast import Forecast
from bootstrap.launch.location import Location

UNKNOWN = "not known"


def table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns; a name is written once for the rows that share it."""
    width = max(len(name) for name, _ in rows)
    written = ""
    lines = []
    for name, value in rows:
        lines.append(f"{name if name != written else '':<{width}}  {value}")
        written = name
    return lines


def machine_rows(machine: Machine) -> list[tuple[str, str]]:
    """Everything that was detected; what could not be read is said to be not known."""
    rows = [("gpu", _gpu(gpu)) for gpu in machine.gpus] or [("gpu", "none")]
    if machine.driver_version:
        cuda = f"CUDA up to {_version(machine.cuda_version)}" if machine.cuda_version else "CUDA not known"
        rows.append(("driver", f"{machine.driver_version}, {cuda}"))
    quota = f"{machine.cpu_quota:g} cores granted, " if machine.cpu_quota else ""
    pids = f", at most {machine.pids_max} processes" if machine.pids_max else ""
    rows.append(("cpu", f"{quota}{machine.cpu_visible or UNKNOWN} cores visible{pids}"))
    free = f", {size(machine.ram_available_bytes)} free" if machine.ram_available_bytes else ""
    rows.append(("memory", f"{size(machine.ram_limit_bytes)}{free}"))
    rate = machine.disk_write_bytes_per_second
    wrote = f", writes {rate / 1e6:.0f} MB/s" if rate else ""
    rows.append(("disk", f"{size(machine.disk_free_bytes)} free{wrote} at {machine.disk_path or UNKNOWN}"))
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


def finding(finding: Finding) -> list[str]:
    return [f"! {finding.problem} ({finding.code})", f"  fix: {finding.fix}"]


def verdict(verdict: Verdict, *, is_taken: bool) -> list[str]:
    """One profile: taken, would fit, or why not."""
    profile = verdict.profile
    mark = "->" if is_taken else "ok" if verdict.fits else "no"
    unmeasured = "" if profile.measured or profile.needs.device == "cpu" else " (not measured yet)"
    return [f"{mark} {profile.name}: {profile.title}{unmeasured}", f"     {'; '.join(verdict.reasons)}"]


def forecast(said: Forecast) -> list[str]:
    """How long it will take and what it will cost until the first clip; what nobody knows is said."""
    link = f"{said.link_bytes_per_second * 8 / 1e6:.0f} Mbit/s" if said.link_bytes_per_second else UNKNOWN
    rows = [
        (
            "link",
            f"{link}, {said.basis['link']}" if said.link_bytes_per_second else f"{link}: give --link 1gbit",
        ),
        ("download", _seconds(said.download_seconds)),
        ("load", f"{_seconds(said.load_seconds)} ({said.basis['load']})"),
        ("ready", f"{_seconds(said.ready_seconds)} after the command"),
        ("first clip", _first_clip(said)),
    ]
    if said.dollars is not None:
        rows.append(("cost", f"${said.dollars:.3f} until the first clip is there"))
    return ["", "forecast", *(f"  {line}" for line in table(rows))]


def _first_clip(said: Forecast) -> str:
    if said.first_clip_seconds is None:
        return f"{UNKNOWN}: this model was not measured on this machine"
    return f"{_seconds(said.first_clip_seconds)} ({said.basis['first_clip']})"


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


def _gpu(gpu: Gpu) -> str:
    capability = _version(gpu.compute_capability) if gpu.compute_capability else UNKNOWN
    watts = f", {gpu.power_limit_watts:.0f} W" if gpu.power_limit_watts else ""
    memory = f"{size(gpu.vram_free_bytes)} of {size(gpu.vram_total_bytes)} free"
    return f"{gpu.name}, {memory}, compute capability {capability}{watts}"


def _version(pair: tuple[int, int] | None) -> str:
    return UNKNOWN if pair is None else f"{pair[0]}.{pair[1]}"
