"""How long an offer takes: until it is ready, and for a clip. What a marketplace does not say is usual."""

from __future__ import annotations

from bootstrap.choose import clip_time
from bootstrap.choose.clip_time import ClipTime
from bootstrap.choose.manifest import Manifest, Profile
from bootstrap.platforms.offer import Offer

# From order to running container, and from files to ready: marketplaces' own figures, median 3.3 minutes.
START_SECONDS = 240.0
# A link gives this part of what a host advertises.
LINK_SHARE = 0.7
SLOWEST_LINK_MBPS = 100.0  # taken where the marketplace does not say
PACKAGES_BYTES = 3.2e9


def download_bytes(model: Manifest) -> float:
    """Of a fresh box: the model and Python's packages."""
    return model.download_bytes + PACKAGES_BYTES


def link_bytes_per_second(offer: Offer) -> float:
    """What the download gets: a part of what is advertised, and no more than the disk takes."""
    link = (offer.down_mbps or SLOWEST_LINK_MBPS) * LINK_SHARE * 1e6 / 8
    return min(link, offer.disk_mb_per_second * 1e6) if offer.disk_mb_per_second else link


def profile_on(offer: Offer, model: Manifest) -> Profile | None:
    """The one that the box would choose; None when the card has too little memory."""
    return clip_time.profile_of_card(
        model, vram_gib=offer.vram_gib, compute_capability=offer.compute_capability
    )


def clip(offer: Offer, model: Manifest) -> ClipTime | None:
    """A clip on the offer's card, as it is connected; None when card or model were never timed."""
    profile = profile_on(offer, model)
    return (
        clip_time.estimate(model, profile, offer.gpu, pcie_bytes_per_second=pcie(offer)) if profile else None
    )


def ready_seconds(offer: Offer, model: Manifest) -> float:
    """From the order to the first clip that can be made. Loading through one lane takes its time, too."""
    seconds = START_SECONDS + download_bytes(model) / link_bytes_per_second(offer)
    profile, rate = profile_on(offer, model), pcie(offer)
    streams = profile is not None and profile.transfer is not None and profile.transfer.streamed_gb > 0
    return seconds if streams or not rate else seconds + model.download_bytes / rate


def pcie(offer: Offer) -> float | None:
    """Bytes a second from host memory to the GPU."""
    return offer.pcie_gb_per_second * 1e9 if offer.pcie_gb_per_second else None
