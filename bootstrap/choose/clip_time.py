"""How long a warm clip of the defaults takes on a card: its computing, and what the way to the card adds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.choose import card_speeds
from bootstrap.choose.manifest import Manifest, Profile, Transfer
from bootstrap.choose.prices import USABLE_SHARE
from bootstrap.detect.machine import Gpu


@dataclass(frozen=True)
class ClipTime:
    """Seconds. ``is_measured``: on such a card; else scaled from the reference card by data sheets."""

    computing_seconds: float
    link_seconds: float  # what is waited for beside that, because weights come through PCIe
    is_measured: bool

    @property
    def seconds(self) -> float:
        return self.computing_seconds + self.link_seconds


def estimate(
    model: Manifest,
    profile: Profile,
    card: str,
    *,
    pcie_bytes_per_second: float | None = None,
    compute_share: float | None = 1.0,
) -> ClipTime | None:
    """``card`` is its name; a ``compute_share`` below 1 is a slice of it.

    None when nobody measured the model, or nothing is known of the card or of the slice. A rate that is not
    known adds nothing.
    """
    known = card_speeds.speed_of(card)
    measured_seconds = profile.clip_seconds or model.clip_seconds
    if known is None or measured_seconds is None or not compute_share:
        return None
    computing = measured_seconds / known.speed / compute_share
    link = _link_seconds(profile.transfer, computing, pcie_bytes_per_second) if profile.transfer else 0.0
    return ClipTime(computing, link, known.is_measured and compute_share == 1.0)


def on(model: Manifest, profile: Profile, gpu: Gpu) -> ClipTime | None:
    """The same for a card of this machine."""
    rate = gpu.pcie.bytes_per_second if gpu.pcie else None
    return estimate(model, profile, gpu.name, pcie_bytes_per_second=rate, compute_share=gpu.compute_share)


def slowest(model: Manifest, profile: Profile, gpus: Sequence[Gpu]) -> tuple[Gpu, ClipTime] | None:
    """Of several cards that make clips the one that takes longest; None when one of them is not known."""
    times = [(gpu, on(model, profile, gpu)) for gpu in gpus]
    known = [(gpu, time) for gpu, time in times if time is not None]
    return max(known, key=lambda each: each[1].seconds) if known and len(known) == len(times) else None


def profile_of_card(model: Manifest, *, vram_gib: float, compute_capability: float | None) -> Profile | None:
    """The profile that a whole card of this size would get; host memory is not looked at."""
    for profile in model.profiles:
        needs = profile.needs
        has_memory = needs.vram_gib <= vram_gib * USABLE_SHARE
        is_capable = not needs.compute_capability or (compute_capability or 99) >= needs.compute_capability
        if needs.device == "cuda" and needs.gpus == 1 and has_memory and is_capable:
            return profile
    return None


def _link_seconds(transfer: Transfer, computing: float, rate: float | None) -> float:
    """Streaming hides behind a part of the computing; what is left of it, and what is waited for, adds up."""
    if not rate:
        return 0.0
    left = transfer.streamed_gb * 1e9 / rate - transfer.hidden_share * computing
    return max(0.0, left) + transfer.waited_gb * 1e9 / rate
