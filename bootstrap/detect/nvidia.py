"""GPUs and MIG slices, through the driver's own library (NVML)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from bootstrap.detect import nvidia_findings
from bootstrap.detect.cgroup import UNKNOWN, Limits
from bootstrap.detect.machine import GIB, Finding, Gpu, PcieLink
from bootstrap.torch_build import driver

# A desktop or a display server takes this much at most; more is another program's model.
BUSY_BYTES = GIB


@dataclass(frozen=True)
class Reading:
    """What NVML reports. No driver version means that there is no driver."""

    gpus: tuple[Gpu, ...] = ()
    driver_version: str | None = None
    findings: tuple[Finding, ...] = ()
    cards: int = 0  # that the driver shows, also hidden and lost ones


def read(
    env: Mapping[str, str],
    *,
    sys: Path,
    proc: Path,
    host: Limits = UNKNOWN,
    wsl: Path = driver.WSL_FOLDER,
) -> Reading:
    """All GPUs that this process may use. Never raises: what goes wrong is a finding.

    ``host`` is the memory of a GPU that has none of its own; ``wsl`` is where WSL2 keeps the libraries.
    """
    try:
        _start(wsl)
    except pynvml.NVMLError as error:
        return Reading(findings=(nvidia_findings.why_no_nvml(error, proc, cards_of_host(sys)),))
    try:
        cards = int(_known(pynvml.nvmlDeviceGetCount) or 0)
        found: list[Gpu | Finding] = list(_devices(cards, host))
        number = _known(pynvml.nvmlSystemGetDriverVersion)
    finally:
        pynvml.nvmlShutdown()
    gpus = _visible([each for each in found if isinstance(each, Gpu)], env.get("CUDA_VISIBLE_DEVICES"))
    findings = [each for each in found if isinstance(each, Finding)]
    if not gpus and not findings:
        findings.append(nvidia_findings.zero_gpus(env))
    findings += [nvidia_findings.busy(gpu) for gpu in gpus if (gpu.other_processes_bytes or 0) > BUSY_BYTES]
    return Reading(tuple(gpus), number, tuple(findings), cards)


def _start(wsl: Path) -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError_LibraryNotFound:
        if not driver.load_from_wsl("libnvidia-ml.so.1", wsl):
            raise
        pynvml.nvmlInit()


def _devices(cards: int, host: Limits) -> Iterator[Gpu | Finding]:
    for index in range(cards):
        try:
            yield from _gpus_of(pynvml.nvmlDeviceGetHandleByIndex(index), index, host)
        except pynvml.NVMLError as error:
            yield nvidia_findings.lost(index, error)


def _gpus_of(handle: Any, index: int, host: Limits) -> Iterator[Gpu]:
    """The GPU itself, or its slices when it has some: a sliced GPU cannot be used as a whole."""
    slices = list(_slices(handle))
    for device in slices or [handle]:
        own = _memory(device)
        total, free = own or (host.ram_limit_bytes or 0, host.ram_available_bytes or 0)
        name = _name(device)
        yield Gpu(
            uuid=_uuid(device) or str(index),
            name=name,
            vram_total_bytes=total,
            vram_free_bytes=min(total, free),
            # a slice computes as its GPU does, and older drivers answer only for the GPU
            compute_capability=_known(lambda: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))),
            power_limit_watts=_watts(handle),
            other_processes_bytes=_held(device),
            is_mig_slice=bool(slices),
            pcie=_pcie(handle),
            compute_share=_compute_share(device, handle, name) if slices else 1.0,
            shares_host_memory=own is None,
        )


def _memory(device: Any) -> tuple[int, int] | None:
    """Total and free; None for a GPU without memory of its own, of which the driver says "not supported"."""
    try:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return None
    return (memory.total, memory.free) if memory.total else None


def _pcie(handle: Any) -> PcieLink | None:
    """The generation that the card and its slot can reach, and the lanes that are connected now."""
    generation = _known(lambda: pynvml.nvmlDeviceGetMaxPcieLinkGeneration(handle))
    width = _known(lambda: pynvml.nvmlDeviceGetCurrPcieLinkWidth(handle))
    width = width or _known(lambda: pynvml.nvmlDeviceGetMaxPcieLinkWidth(handle))
    return PcieLink(int(generation), int(width)) if generation and width else None


def _compute_share(device: Any, handle: Any, name: str) -> float | None:
    """A slice's part of the multiprocessors: "MIG 2g.20gb" of an H100 has 2 of 7."""
    of = _known(lambda: pynvml.nvmlDeviceGetMaxMigDeviceCount(handle))
    attributes = _known(lambda: pynvml.nvmlDeviceGetAttributes(device))
    parts = attributes.computeInstanceSliceCount if attributes else 0
    named = re.search(r"\bMIG (?:(\d)c\.)?(\d)g\.", name)
    if not parts and named:
        parts = int(named[1] or named[2])
    return min(1.0, parts / of) if parts and of else None


def _uuid(device: Any) -> str | None:
    uuid: str | None = _known(lambda: pynvml.nvmlDeviceGetUUID(device))
    return uuid


def _name(device: Any) -> str:
    return _known(lambda: pynvml.nvmlDeviceGetName(device)) or "NVIDIA GPU"


def _slices(handle: Any) -> Iterator[Any]:
    try:
        current, _pending = pynvml.nvmlDeviceGetMigMode(handle)
        if not current:
            return
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            try:
                yield pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            except pynvml.NVMLError_NotFound:
                continue  # the numbers of slices have gaps
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLError_FunctionNotFound):
        return  # a card or a driver without slices


def _held(device: Any) -> int | None:
    """Memory in use without the driver's own part. Nothing of ours runs yet, so others hold it."""
    memory = _known(lambda: pynvml.nvmlDeviceGetMemoryInfo(device, version=pynvml.nvmlMemory_v2))
    return int(memory.used) if memory is not None else None


def _watts(handle: Any) -> float | None:
    milliwatts = _known(lambda: pynvml.nvmlDeviceGetPowerManagementLimit(handle))
    return milliwatts / 1000 if milliwatts is not None else None


def _known(ask: Callable[[], Any]) -> Any:
    """The driver's answer, or None where it has none; raises when the GPU is lost."""
    try:
        return ask()
    except pynvml.NVMLError_GpuIsLost:
        raise
    except pynvml.NVMLError:
        return None


def _visible(gpus: list[Gpu], allowed: str | None) -> list[Gpu]:
    """Obey CUDA_VISIBLE_DEVICES, by number or UUID (whole or its beginning), as CUDA does."""
    if allowed is None or allowed.strip() == "all":
        return gpus
    chosen: list[Gpu] = []
    for entry in (part.strip() for part in allowed.split(",")):
        if entry.isdigit():
            match = gpus[int(entry)] if int(entry) < len(gpus) else None
        else:
            match = next((gpu for gpu in gpus if entry and gpu.uuid.startswith(entry)), None)
        if match is None:
            break  # CUDA ignores what follows an invalid entry
        chosen.append(match)
    return chosen


def cards_of_host(sys: Path) -> int:
    """Display and 3D controllers (class 03) of NVIDIA (10de) on the PCI bus, which containers see whole."""
    count = 0
    for device in (sys / "bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        count += vendor.strip() == "0x10de" and kind.startswith("0x03")
    return count
