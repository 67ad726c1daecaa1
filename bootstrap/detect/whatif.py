"""A machine described by the flags of ``kinokit plan``: would the model fit there?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from bootstrap.detect import gpu_torch
from bootstrap.detect.machine import GIB, Gpu, Machine, PcieLink
from bootstrap.errors import KitError

UNITS = {"gib": GIB, "gb": 10**9, "mib": 1024**2, "mb": 10**6, "tib": 1024 * GIB, "tb": 10**12, "": GIB}


def machine(
    real: Machine,
    *,
    gpus: Sequence[str] = (),
    ram: str | None = None,
    disk: str | None = None,
    cpus: float | None = None,
    pcie: str | None = None,
    driver: str | None = None,
) -> Machine:
    """The real machine with the given parts replaced. One with other cards is another: its disk is not known.

    ``gpus``: "24gib:8.9", "20/24gib:8.9" with 20 of them free, or "none". ``driver``: its number,
    "550.90.07", or its first part alone. Such a machine holds no torch yet.
    """
    changed = real
    if gpus:
        described = [text for text in gpus if text.strip().lower() != "none"]
        changed = replace(
            changed,
            gpus=tuple(gpu(text, number) for number, text in enumerate(described)),
            driver_version=None,
            cuda_version=None,
            torch=None,
            findings=(),
        )
        if described:
            changed = replace(changed, disk_free_bytes=None, disk_write_bytes_per_second=None)
    if driver is not None:
        if not re.fullmatch(r"\d{3}(\.\d+)*", driver):
            raise KitError(
                f"--driver {driver!r} is not a driver's number", fix="write it as 550 or 550.90.07"
            )
        whole = driver if "." in driver else f"{driver}.999"  # the newest of that branch
        changed = replace(changed, driver_version=whole, cuda_version=None, torch=None)
        changed = replace(changed, findings=gpu_torch.findings(changed))
    if ram is not None:
        count = size(ram, "--ram")
        changed = replace(changed, ram_limit_bytes=count, ram_available_bytes=count, granted_share=None)
    if disk is not None:
        changed = replace(changed, disk_free_bytes=size(disk, "--disk"))
    if cpus is not None:
        changed = replace(changed, cpu_quota=cpus, cpu_visible=max(1, round(cpus)))
    if pcie is not None:
        link = pcie_link(pcie)
        changed = replace(changed, gpus=tuple(replace(each, pcie=link) for each in changed.gpus))
    return changed


def pcie_link(text: str) -> PcieLink:
    """Generation and lanes of "3x1"."""
    match = re.fullmatch(r"\s*(?:gen|PCIe)?\s*([1-9])(?:\.0)?\s*x\s*(1|2|4|8|16|32)\s*", text, re.IGNORECASE)
    if match is None:
        raise KitError(f"--pcie {text!r} is no link", fix="write generation and lanes as 4x16 or 3x1")
    return PcieLink(int(match[1]), int(match[2]))


def gpu(text: str, number: int = 0) -> Gpu:
    """One GPU from "FREE[/TOTAL]:CAPABILITY:NAME", e.g. "24gib:8.9"; the last two may be left out."""
    memory, _, rest = text.partition(":")
    capability, _, name = rest.partition(":")
    free, _, total = memory.partition("/")
    unit = re.sub(r"[\d.\s]", "", total)
    total_bytes = size(total or free, "--gpu")
    free_bytes = size(free if re.search("[a-zA-Z]", free) else free + unit, "--gpu")
    match = re.fullmatch(r"(\d{1,2})\.(\d)", capability)
    if capability and not match:
        raise KitError(
            f"--gpu {text!r}: {capability!r} is not a compute capability", fix="write it as 24gib:8.9"
        )
    return Gpu(
        uuid=f"WHAT-IF-{number}",
        name=name or f"a GPU with {total_bytes / GIB:g} GiB",
        vram_total_bytes=total_bytes,
        vram_free_bytes=min(free_bytes, total_bytes),
        compute_capability=(int(match[1]), int(match[2])) if match else None,
    )


def size(text: str, flag: str) -> int:
    """Bytes of "64gib", "100GB", "512 MiB"; a bare number is GiB."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", text.lower())
    if not match or match[2] not in UNITS:
        raise KitError(
            f"{flag} {text!r} is not a size", fix=f"write it as in {flag} 64gib; gb, mib and tib work too"
        )
    return int(float(match[1]) * UNITS[match[2]])
