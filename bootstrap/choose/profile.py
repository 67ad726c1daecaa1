"""Which of a model's profiles fits a machine, and why the others do not. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bootstrap.choose import clip_time
from bootstrap.choose.clip_time import ClipTime
from bootstrap.choose.manifest import Manifest, Needs, Profile
from bootstrap.detect import gpu_torch
from bootstrap.detect.machine import GIB, Gpu, Machine, counted

Lack = Literal["gpu", "vram", "capability", "torch", "gpus", "ram"]

# Room that must stay free on the disk beside the model: logs, clips, compiled kernels.
DISK_MARGIN_BYTES = 2 * GIB
# A slow link to the card: a later profile is taken whose clips take no more than this part of the time.
WORTH_ANOTHER_PROFILE = 0.8


@dataclass(frozen=True)
class Verdict:
    """One profile on one machine. ``reasons`` hold the numbers that made it fit or fail."""

    profile: Profile
    fits: bool
    reasons: tuple[str, ...]
    lacks: frozenset[Lack] = frozenset()
    gpu_groups: tuple[tuple[Gpu, ...], ...] = ()  # one worker each
    idle_gpus: str | None = None  # why GPUs that could work do not


@dataclass(frozen=True)
class Choice:
    """The profile that is taken, and every profile's verdict. ``profile`` is None when none fits."""

    profile: Profile | None
    gpu_groups: tuple[tuple[Gpu, ...], ...]
    verdicts: tuple[Verdict, ...]
    disk_problem: str | None = None  # vetoes every profile
    idle_gpus: str | None = None
    passed_over: str | None = None  # why an earlier profile that fits was not taken


def choose(
    manifest: Manifest, machine: Machine, *, download_bytes: int = 0, profile: str | None = None
) -> Choice:
    """Take the first profile that fits, or a later one where the link to the GPU makes that much faster.

    ``download_bytes`` are those that are not in the store yet; ``profile`` narrows the choice to one name.
    """
    wanted = [each for each in manifest.profiles if profile in (None, each.name)]
    verdicts = tuple(_judge(each, machine) for each in wanted)
    disk_problem = _disk_problem(machine, download_bytes)
    fitting = [verdict for verdict in verdicts if verdict.fits]
    if not fitting or disk_problem:
        return Choice(None, (), verdicts, disk_problem)
    taken = _past_the_link(manifest, fitting)
    first = fitting[0].profile
    passed = None
    if taken.profile != first:
        gpu = fitting[0].gpu_groups[0][0]
        passed = f"{first.name} would wait for its weights: the GPU is connected by {gpu.pcie}"
    return Choice(taken.profile, taken.gpu_groups, verdicts, idle_gpus=taken.idle_gpus, passed_over=passed)


def _past_the_link(manifest: Manifest, fitting: Sequence[Verdict]) -> Verdict:
    """The first one, unless it waits for the link and a later one that makes the same clips is faster."""
    first = fitting[0]
    time = _slowest(manifest, first)
    if time is None or not time.link_seconds:
        return first
    best, seconds = first, time.seconds * WORTH_ANOTHER_PROFILE
    for other in fitting[1:]:
        is_alike = other.profile.defaults == first.profile.defaults and (
            other.profile.limits in (None, first.profile.limits)
        )
        time = _slowest(manifest, other) if is_alike else None
        if time is not None and time.seconds < seconds:
            best, seconds = other, time.seconds
    return best


def _slowest(manifest: Manifest, verdict: Verdict) -> ClipTime | None:
    found = clip_time.slowest(
        manifest, verdict.profile, [gpu for group in verdict.gpu_groups for gpu in group]
    )
    return found[1] if found else None


def smaller(manifest: Manifest, profile: str) -> Profile | None:
    """The best profile that needs less GPU memory than the one named and runs on the same GPU.

    One with the same compute capability comes first: profiles for older cards are slower. None when there
    is none, or no profile of that name.
    """
    now = next((each for each in manifest.profiles if each.name == profile), None)
    if now is None:
        return None
    able = now.needs.compute_capability or 0
    less = [
        each
        for each in manifest.profiles
        if each.needs.device == now.needs.device
        and each.needs.vram_gib < now.needs.vram_gib
        and (each.needs.compute_capability or 0) <= able
    ]
    alike = [each for each in less if (each.needs.compute_capability or 0) == able]
    return next(iter(alike or less), None)


def _judge(profile: Profile, machine: Machine) -> Verdict:
    needs = profile.needs
    ram_fits, ram_reason = _ram(needs, machine)
    lacks: set[Lack] = set() if ram_fits else {"ram"}
    if needs.device == "cpu":
        return Verdict(profile, ram_fits, ("runs on the CPU", ram_reason), frozenset(lacks))
    able = [gpu for gpu in _suitable(needs, machine) if gpu_torch.problem(machine, gpu) is None]
    if len(able) < needs.gpus:
        lacks |= _gpu_lacks(needs, machine)
    reasons = (*counted(_gpu_reason(needs, gpu, machine) for gpu in machine.gpus), ram_reason)
    if not machine.gpus:
        reasons = (f"no GPU, needs {needs.vram_gib:g} GiB", ram_reason)
    if lacks:
        return Verdict(profile, False, reasons, frozenset(lacks))
    workers = min(len(able) // needs.gpus, _workers_by_ram(needs, machine))
    groups = tuple(tuple(able[n * needs.gpus : (n + 1) * needs.gpus]) for n in range(workers))
    return Verdict(profile, True, reasons, gpu_groups=groups, idle_gpus=_idle(needs, machine, able, workers))


def _idle(needs: Needs, machine: Machine, able: Sequence[Gpu], workers: int) -> str | None:
    """Why fewer workers run than the GPUs could; the number that would be needed."""
    possible = len(able) // needs.gpus
    ram_bytes = _ram_bytes(machine)
    if workers >= possible or ram_bytes is None:
        return None
    return (
        f"host memory is enough for {workers} of {possible} workers: each needs {needs.ram_gib:g} GiB"
        f" of {ram_bytes / GIB:.1f}"
    )


def _gpu_lacks(needs: Needs, machine: Machine) -> set[Lack]:
    """Why too few GPUs can run it; the nearest obstacle, not all of them.

    What no setting changes comes first: an old card stays old, whatever its memory.
    """
    if not machine.gpus:
        return {"gpu"}
    if not any(_is_capable(needs, gpu) for gpu in machine.gpus):
        return {"capability"}
    suitable = _suitable(needs, machine)
    if not suitable:
        return {"vram"}
    return {"gpus"} if any(gpu_torch.problem(machine, gpu) is None for gpu in suitable) else {"torch"}


def _suitable(needs: Needs, machine: Machine) -> list[Gpu]:
    return [gpu for gpu in machine.gpus if _has_memory(needs, gpu) and _is_capable(needs, gpu)]


def _has_memory(needs: Needs, gpu: Gpu) -> bool:
    return gpu.vram_free_bytes >= _needed_gib(needs, gpu) * GIB


def _needed_gib(needs: Needs, gpu: Gpu) -> float:
    """A GPU that shares the host's memory holds both parts."""
    return needs.vram_gib + needs.ram_gib if gpu.shares_host_memory else needs.vram_gib


def _is_capable(needs: Needs, gpu: Gpu) -> bool:
    """An unknown compute capability counts as enough."""
    if needs.compute_capability is None or gpu.compute_capability is None:
        return True
    return gpu.compute_capability >= _pair(needs.compute_capability)


def _gpu_reason(needs: Needs, gpu: Gpu, machine: Machine) -> str:
    problem = gpu_torch.problem(machine, gpu)
    no_torch = f"; no torch for it: {problem.problem}" if problem else ""
    return f"{_card_reason(needs, gpu)}{no_torch}"


def _card_reason(needs: Needs, gpu: Gpu) -> str:
    free = f"{gpu.name}: {gpu.vram_free_bytes / GIB:.1f} of {gpu.vram_total_bytes / GIB:.1f} GiB free"
    memory = f"{free}, needs {_needed_gib(needs, gpu):g}"
    if gpu.shares_host_memory:
        memory += " of what it shares with the host"
    if needs.compute_capability is None:
        return memory
    if gpu.compute_capability is None:
        return f"{memory}; compute capability not known"
    has = ".".join(map(str, gpu.compute_capability))
    return f"{memory}; compute capability {has}, needs {needs.compute_capability:g}"


def _ram(needs: Needs, machine: Machine) -> tuple[bool, str]:
    ram_bytes = _ram_bytes(machine)
    if ram_bytes is None:
        return True, f"host memory not known, needs {needs.ram_gib:g} GiB"
    return (
        ram_bytes >= needs.ram_gib * GIB,
        f"{ram_bytes / GIB:.1f} GiB of host memory{share(machine)}, needs {needs.ram_gib:g}",
    )


def share(machine: Machine) -> str:
    """Why it is less than the host has, where other renters have the rest; empty elsewhere."""
    if not machine.granted_share or not machine.gpus_of_host:
        return ""
    here = round(machine.granted_share * machine.gpus_of_host)
    return f" (the share of {here} of the host's {machine.gpus_of_host} GPUs)"


def _workers_by_ram(needs: Needs, machine: Machine) -> int:
    """Each worker holds its own copy in host memory; at least one: ``_ram`` decides if there is enough."""
    ram_bytes = _ram_bytes(machine)
    if ram_bytes is None or needs.ram_gib == 0:
        return len(machine.gpus)
    return max(1, int(ram_bytes / (needs.ram_gib * GIB)))


def _ram_bytes(machine: Machine) -> int | None:
    known = [ram for ram in (machine.ram_limit_bytes, machine.ram_available_bytes) if ram is not None]
    return min(known, default=None)


def _disk_problem(machine: Machine, download_bytes: int) -> str | None:
    if machine.disk_free_bytes is None or not download_bytes:
        return None
    needed = download_bytes + DISK_MARGIN_BYTES
    if machine.disk_free_bytes >= needed:
        return None
    return (
        f"the download needs {needed / GIB:.1f} GiB of disk at {machine.disk_path or 'the data directory'}"
        f" ({download_bytes / GIB:.1f} GiB of files and {DISK_MARGIN_BYTES // GIB} GiB of room),"
        f" {machine.disk_free_bytes / GIB:.1f} GiB are free"
    )


def _pair(capability: float) -> tuple[int, int]:
    """8.9 is (8, 9)."""
    major, _, minor = f"{capability:g}".partition(".")
    return int(major), int(minor or 0)
