"""Why a machine cannot run a model, on one screen: what is missing, what runs here, what a GPU costs."""

from __future__ import annotations

from collections.abc import Sequence

from bootstrap.choose import prices
from bootstrap.choose.manifest import Manifest
from bootstrap.choose.prices import Prices
from bootstrap.choose.profile import Choice, Verdict, share
from bootstrap.detect import gpu_torch
from bootstrap.detect.machine import GIB, Machine, counted
from bootstrap.errors import KitError
from bootstrap.torch_build.decision import Problem


class NoFit(KitError):
    """No profile fits; nothing was downloaded. The command ends with ``exit_code``."""

    exit_code = 2


def no_fit(
    manifest: Manifest,
    choice: Choice,
    machine: Machine,
    *,
    runs_here: Sequence[str],
    market: Prices | None = None,
) -> NoFit:
    """Write the refusal. ``runs_here`` are the names of the models that fit this machine."""
    nearest = _nearest(choice.verdicts)
    rows = [
        ("found", found(machine)),
        # "no_gpu" stands in the headline
        *((each.code, f"{each.problem}; {each.fix}") for each in machine.findings if each.code != "no_gpu"),
        *(("needs", each) for each in _needs(choice.verdicts)),
        *([("disk", choice.disk_problem)] if choice.disk_problem and nearest.lacks else []),
        ("runs here", ", ".join(runs_here) or "none of the shipped models"),
    ]
    if nearest.lacks & {"gpu", "vram", "capability", "gpus"}:
        rows += [("costs about", each) for each in _costs(nearest, market or prices.load())]
    rows.append(("downloaded", "nothing"))
    # a larger disk is no help on a machine that lacks something else
    obstacle = f" {_obstacle(nearest, machine)}" if nearest.lacks else f": {choice.disk_problem}"
    headline = f"{manifest.name}{obstacle}"
    return NoFit("\n".join([headline, *_table(rows)]), fix=_fix(nearest, machine, runs_here))


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Two columns; a name is written once for the rows that share it."""
    width = max(len(name) for name, _ in rows)
    names = ["", *(name for name, _ in rows)]
    return [
        f"  {'' if name == before else name:<{width}}  {text}"
        for before, (name, text) in zip(names, rows, strict=False)
    ]


def found(machine: Machine) -> str:
    """The machine in one line, with what is not known."""
    cores = machine.cpu_quota or machine.cpu_visible
    gpus = counted(f"{gpu.name} with {gpu.vram_free_bytes / GIB:.1f} GiB free" for gpu in machine.gpus)
    return ", ".join(
        (
            *(gpus or ["no GPU"]),
            f"{cores:g} CPU cores" if cores else "CPU cores not known",
            f"{_gib(machine.ram_available_bytes)} of host memory",
            f"{_gib(machine.disk_free_bytes)} of disk{_rate(machine.disk_write_bytes_per_second)}",
        )
    )


def _gib(count: int | None) -> str:
    return "an unknown amount" if count is None else f"{count / GIB:.0f} GiB"


def _rate(bytes_per_second: float | None) -> str:
    return f" that takes {bytes_per_second / 1e6:.0f} MB/s" if bytes_per_second else ""


def _nearest(verdicts: Sequence[Verdict]) -> Verdict:
    """One that fits but for the disk; else the one that asks for the least of what is missing.

    Host memory comes last: a GPU is harder to add.

    Of a card that is too old for all, the one that asks for the oldest that would do.
    """

    def distance(verdict: Verdict) -> tuple[bool, bool, float, float, float]:
        needs = verdict.profile.needs
        too_old = needs.compute_capability or 0 if "capability" in verdict.lacks else 0
        return not verdict.fits, bool(verdict.lacks - {"ram"}), too_old, needs.vram_gib, needs.ram_gib

    return min(verdicts, key=distance)


def _obstacle(nearest: Verdict, machine: Machine) -> str:
    needs = nearest.profile.needs
    gpu = f"an NVIDIA GPU with at least {needs.vram_gib:g} GiB of free memory"
    best = max((each.vram_free_bytes for each in machine.gpus), default=0) / GIB
    if "gpu" in nearest.lacks:
        return f"needs {gpu}; this machine has no usable GPU"
    if "vram" in nearest.lacks:
        return f"needs {gpu}; the most that is free here is {best:.1f} GiB"
    if "capability" in nearest.lacks:
        capability = f"compute capability {needs.compute_capability:.1f} or newer"
        has = ", ".join(f"{each.name} has {_capability(each.compute_capability)}" for each in machine.gpus)
        return f"needs a GPU of {capability}; {has}"
    if "torch" in nearest.lacks:
        return f"finds no torch that runs here: {_no_torch(machine).problem}"
    if "gpus" in nearest.lacks:
        return f"needs {needs.gpus} GPUs with {needs.vram_gib:g} GiB each; {len(machine.gpus)} are here"
    free = _gib(machine.ram_available_bytes)
    return f"needs {needs.ram_gib:g} GiB of host memory; {free} are free here{share(machine)}"


def _no_torch(machine: Machine) -> Problem:
    """That of the first GPU that has one."""
    problems = (gpu_torch.problem(machine, gpu) for gpu in machine.gpus)
    return next(each for each in problems if each is not None)


def _capability(capability: tuple[int, int] | None) -> str:
    return "an unknown one" if capability is None else f"{capability[0]}.{capability[1]}"


def _needs(verdicts: Sequence[Verdict]) -> list[str]:
    """The smallest profile, and the best one where that is another."""
    first, last = verdicts[0].profile, verdicts[-1].profile
    ranked = [(last, " at least"), (first, " at best")] if first != last else [(last, "")]
    return [
        f"{each.needs.vram_gib:g} GiB of GPU, {each.needs.ram_gib:g} GiB of host memory{rank} ({each.name})"
        for each, rank in ranked
    ]


def _costs(nearest: Verdict, market: Prices) -> list[str]:
    needs = nearest.profile.needs
    able = prices.cheapest(market, needs.vram_gib, needs.compute_capability)
    if not able:
        return [f"no single card of the list of {market.date} suffices"]
    return [*(f"{gpu} an hour" for gpu in able), f"rough, Vast.ai and RunPod, {market.date}"]


def _fix(nearest: Verdict, machine: Machine, runs_here: Sequence[str]) -> str:
    if not nearest.lacks:
        return (
            "free some disk, choose another directory with --data-dir, or rent a machine with a larger disk"
        )
    needs = nearest.profile.needs
    rent = f"rent a GPU with {needs.vram_gib:g} GiB free and {needs.ram_gib:g} GiB of host memory"
    if "capability" in nearest.lacks:
        rent = _newer_card(nearest)
    if "torch" in nearest.lacks:
        rent = _no_torch(machine).fix
    if nearest.lacks == {"ram"}:
        rent = f"rent a machine with {needs.ram_gib:g} GiB of host memory, or end other programs"
    return f"{rent}, or run what fits here: make up MODEL={runs_here[0]}" if runs_here else rent


def _newer_card(nearest: Verdict) -> str:
    needs = nearest.profile.needs
    able = prices.cheapest(prices.load(), needs.vram_gib, needs.compute_capability)
    such_as = f" ({', '.join(each.name for each in able)}, …)" if able else ""
    return (
        f"rent a card with compute capability {needs.compute_capability:.1f} or newer{such_as},"
        f" {needs.vram_gib:g} GiB free and {needs.ram_gib:g} GiB of host memory"
    )
