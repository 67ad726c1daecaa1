"""The torch that runs, or will be installed to run, on a machine's GPUs; and why none does."""

from __future__ import annotations

from collections.abc import Iterable

from bootstrap.detect.machine import Finding, Gpu, Machine
from bootstrap.torch_build import builds, decision
from bootstrap.torch_build.builds import Version
from bootstrap.torch_build.decision import Decision, Driver, Problem


def decide(machine: Machine, gpus: Iterable[Gpu]) -> Decision:
    """For these GPUs of the machine together; for none of them: the torch for the CPU."""
    cards = [gpu.compute_capability for gpu in gpus]
    here = Driver(machine.driver_version, machine.cuda_version)
    return decision.decide(here, cards, machine.torch, host=machine.processor)


def decide_for(machine: Machine, gpu_groups: Iterable[Iterable[Gpu]]) -> Decision:
    """For all GPUs that a choice takes: the workers share one Python."""
    return decide(machine, [gpu for group in gpu_groups for gpu in group])


def problem(machine: Machine, gpu: Gpu) -> Problem | None:
    """Why no torch computes on this GPU, whatever would be installed."""
    return decide(machine, (gpu,)).problem


def findings(machine: Machine) -> tuple[Finding, ...]:
    """Each problem of its GPUs once."""
    found = dict.fromkeys(problem(machine, gpu) for gpu in machine.gpus)
    new = dict.fromkeys(gpu.compute_capability for gpu in machine.gpus)
    return (
        *(Finding(each.code, each.problem, each.fix) for each in found if each is not None),
        *(_newer_than_all(card) for card in new if card is not None and builds.is_newer_than_all(card)),
    )


def _newer_than_all(card: Version) -> Finding:
    return Finding(
        "card_newer_than_torch",
        f"{builds.BUILDS[0].title} has no code for compute capability {builds.written(card)}: it may not run",
        "take the newest kit, or another card",
    )
