"""What can be wrong with a driver and its GPUs, and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pynvml

from bootstrap.detect.machine import GIB, Finding, Gpu


def why_no_nvml(error: pynvml.NVMLError, proc: Path, cards_of_host: int) -> Finding:
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
    if cards_of_host:
        return Finding(
            "no_driver",
            f"there is an NVIDIA card, but no working driver ({error})",
            "install the NVIDIA driver 580 or newer; in a container start it with `--gpus all`",
        )
    if _is_wsl(proc):
        return Finding(
            "no_gpu_in_wsl",
            "this is Windows' WSL2, and Windows gives it no NVIDIA GPU",
            "install the NVIDIA driver in Windows (not in Linux), run `wsl --shutdown` there and start again;"
            " without such a card, run a demo model: it needs none",
        )
    return Finding(
        "no_gpu",
        "this machine has no NVIDIA GPU",
        "rent a machine with a GPU, or run a demo model: it needs none",
    )


def _is_wsl(proc: Path) -> bool:
    try:
        return "microsoft" in (proc / "version").read_text().lower()
    except OSError:
        return False


def lost(index: int, error: pynvml.NVMLError) -> Finding:
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


def zero_gpus(env: Mapping[str, str]) -> Finding:
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


def busy(gpu: Gpu) -> Finding:
    held, free = (gpu.other_processes_bytes or 0) / GIB, gpu.vram_free_bytes / GIB
    return Finding(
        "gpu_busy",
        f"others hold {held:.1f} GiB of {gpu.name}; {free:.1f} GiB are free",
        "end the other program to get a better profile; the free memory decides",
    )
