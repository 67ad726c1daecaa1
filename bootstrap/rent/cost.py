"""What a clip costs on an offer: the price of its time, and its share of start and download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.choose.card_speeds import clip_seconds
from bootstrap.choose.manifest import Manifest
from bootstrap.platforms.market import Offer

# From order to running container, and from files to ready: marketplaces' own figures, median 3.3 minutes.
START_SECONDS = 240
# A link gives this part of what a host advertises.
LINK_SHARE = 0.7
SLOWEST_LINK_MBPS = 100.0  # taken where the marketplace does not say
PACKAGES_BYTES = 3.2e9


@dataclass(frozen=True)
class Estimate:
    """One offer, judged for a session of a number of clips."""

    offer: Offer
    clip_seconds: float | None  # None: this card's speed is not known
    ready_seconds: float  # from the order to the first clip that can be made
    download_dollars: float
    session_dollars: float | None
    dollars_per_clip: float | None


def estimate(offer: Offer, manifest: Manifest, clips: int) -> Estimate:
    """Dollars of a session: start, download, ``clips`` clips one after the other."""
    size = sum(file.bytes for file in manifest.files) + PACKAGES_BYTES
    link = (offer.down_mbps or SLOWEST_LINK_MBPS) * LINK_SHARE * 1e6 / 8
    ready = START_SECONDS + size / link
    download = size / 1e9 * offer.dollars_per_gb_down
    seconds = clip_seconds(manifest, offer.gpu)
    if seconds is None:
        return Estimate(offer, None, ready, download, None, None)
    session = (ready + clips * seconds) / 3600 * offer.dollars_per_hour + download
    return Estimate(offer, seconds, ready, download, session, session / clips)


def rank(offers: Sequence[Offer], manifest: Manifest, clips: int) -> list[Estimate]:
    """Cheapest clip first; cards of unknown speed last, by their price."""
    return sorted(
        (estimate(offer, manifest, clips) for offer in offers),
        key=lambda each: (
            each.dollars_per_clip is None,
            each.dollars_per_clip or each.offer.dollars_per_hour,
        ),
    )
