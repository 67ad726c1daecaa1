"""GPUs and MIG slices, through the driver's own library (NVML)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pynvml

from bootstrap.detect.machine import GIB, Finding, Gpu

# A desktop or a display server takes this much at most; more is another program's model.
BUSY_BYTES = GIB


@dataclass(frozen=True)
class Reading:
    """What NVML reports. No driver version means that there is no driver."""

    gpus: tuple[Gpu, ...] = ()
    driver_version: str | None = None
    findings: tuple[Finding, ...] = ()


def read(env: Mapping[str, str], *, sys: Path, proc: Path) -> Reading:
    """All GPUs that this process may use. Never raises: what goes wrong is a finding."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return Reading(findings=(_why_no_nvml(error, sys, proc),))
    try:
        found: list[Gpu | Finding] = list(_devices())
        driver = _known(pynvml.nvmlSystemGetDriverVersion)
    finally:
        pynvml.nvmlShutdown()
    gpus = _visible([each for each in found if isinstance(each, Gpu)], env.get("CUDA_VISIBLE_DEVICES"))
    findings = [each for each in found if isinstance(each, Finding)]
    if not gpus and not findings:
        findings.append(_zero_gpus(env))
    findings += [_busy(gpu) for gpu in gpus if (gpu.other_processes_bytes or 0) > BUSY_BYTES]
    return Reading(tuple(gpus), driver, tuple(findings))


def _devices() -> Iterator[Gpu | Finding]:
    for index in range(pynvml.nvmlDeviceGetCount()):
        try:
            yield from _gpus_of(pynvml.nvmlDeviceGetHandleByIndex(index))
        except pynvml.NVMLError as error:
            yield _lost(index, error)


def _gpus_of(handle: Any) -> Iterator[Gpu]:
    """The GPU itself, or its slices when it has some: a sliced GPU cannot be used as a whole."""
    slices = list(_slices(handle))
    for device in slices or [handle]:
        memory = pynvml.nvmlDeviceGetMemoryInfo(device)
        yield Gpu(
            uuid=pynvml.nvmlDeviceGetUUID(device),
            name=_name(device),
            vram_total_bytes=memory.total,
            vram_free_bytes=memory.free,
            # a slice computes as its GPU does, and older drivers answer only for the GPU
            compute_capability=_known(lambda: tuple(pynvml.nvmlDeviceGetCudaComputeCapability(handle))),
            power_limit_watts=_watts(handle),
            other_processes_bytes=_held(device),
            is_mig_slice=bool(slices),
        )


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


def _why_no_nvml(error: pynvml.NVMLError, sys: Path, proc: Path) -> Finding:
    if isinstance(error, pynvml.NVMLError_LibRmVersionMismatch):
        return Finding(
            "driver_mismatch",
            "the NVIDIA library and the NVIDIA kernel module are of different versions",
            "restart the machine after the driver's update; a rented one: take another host",
        )
    if (proc / "driver/nvidia/version").exists():
        return Finding(
            "driver_not_in_container",
            "the host has an NVIDIA driver, but this container was not given the GPU",
            "start the container with `--gpus all` (the NVIDIA Container Toolkit must be on the host)",
        )
    if _has_nvidia_card(sys):
        return Finding(
            "no_driver",
            f"there is an NVIDIA card, but no working driver ({error})",
            "install the NVIDIA driver 580 or newer; in a container start it with `--gpus all`",
        )
    return Finding(
        "no_gpu",
        "this machine has no NVIDIA GPU",
        "rent a machine with a GPU, or run a demo model: it needs none",
    )


def _has_nvidia_card(sys: Path) -> bool:
    """A display or 3D controller (class 03) of NVIDIA (vendor 10de) on the PCI bus."""
    for device in (sys / "bus/pci/devices").glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.strip() == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def _lost(index: int, error: pynvml.NVMLError) -> Finding:
    if isinstance(error, pynvml.NVMLError_GpuIsLost):
        return Finding(
            "gpu_lost",
            f"GPU {index} has fallen off the bus",
            "restart the machine; when you rent it, stop it and take another host: this one is faulty",
        )
    return Finding(
        "gpu_unreadable",
        f"GPU {index} does not answer the driver: {error}",
        "run nvidia-smi to see more; when you rent the machine, take another host",
    )


def _zero_gpus(env: Mapping[str, str]) -> Finding:
    if "RUNPOD_POD_ID" in env:
        return Finding(
            "zero_gpus",
            "the pod came back with zero GPUs: its host gave them to others while the pod was stopped",
            "stop the pod and start it later, or start a new one; a network volume keeps the model."
            " It is billed as long as it runs",
        )
    if env.get("CUDA_VISIBLE_DEVICES") is not None:
        return Finding(
            "gpus_hidden",
            f"CUDA_VISIBLE_DEVICES={env['CUDA_VISIBLE_DEVICES']!r} hides every GPU",
            "unset it, or name a GPU that exists",
        )
    return Finding(
        "zero_gpus",
        "the NVIDIA driver runs but shows no GPU",
        "start the container with `--gpus all`, or take another host",
    )


def _busy(gpu: Gpu) -> Finding:
    held, free = (gpu.other_processes_bytes or 0) / GIB, gpu.vram_free_bytes / GIB
    return Finding(
        "gpu_busy",
        f"others hold {held:.1f} GiB of {gpu.name}; {free:.1f} GiB are free",
        "end the other program to get a better profile; the free memory decides",
    )
