"""What a clip costs on an offer: the price of its time, and its share of start and download."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.choose.manifest import Manifest
from bootstrap.platforms.market import Offer
from bootstrap.rent import duration

CLIP_BYTES = 10e6  # roughly: five seconds of 720p


@dataclass(frozen=True)
class Estimate:
    """One offer, judged for a session of a number of clips."""

    offer: Offer
    clip_seconds: float | None  # None: this card's speed is not known
    clip_link_seconds: float  # of these, waiting for what comes through PCIe
    is_measured: bool  # clip_seconds, on such a card; else it is scaled from another's
    ready_seconds: float  # from the order to the first clip that can be made
    download_dollars: float
    upload_dollars: float  # of a clip to whoever watches it
    session_dollars: float | None
    dollars_per_clip: float | None


def estimate(offer: Offer, manifest: Manifest, clips: int) -> Estimate:
    """Dollars of a session: start, download, ``clips`` clips one after the other, and their way out.

    The hour has the disk, the renter's fee and the currency in it: see ``Offer``.
    """
    ready = duration.ready_seconds(offer, manifest)
    download = duration.download_bytes(manifest) / 1e9 * offer.dollars_per_gb_down
    upload = CLIP_BYTES / 1e9 * offer.dollars_per_gb_up
    clip = duration.clip(offer, manifest)
    if clip is None:
        return Estimate(offer, None, 0.0, False, ready, download, upload, None, None)
    hours = (ready + clips * clip.seconds) / 3600
    session = hours * offer.dollars_per_hour + download + clips * upload
    return Estimate(
        offer=offer,
        clip_seconds=clip.seconds,
        clip_link_seconds=clip.link_seconds,
        is_measured=clip.is_measured,
        ready_seconds=ready,
        download_dollars=download,
        upload_dollars=upload,
        session_dollars=session,
        dollars_per_clip=session / clips,
    )


def rank(offers: Sequence[Offer], manifest: Manifest, clips: int) -> list[Estimate]:
    """Cheapest clip first; cards of unknown speed last, by their price."""
    return sorted(
        (estimate(offer, manifest, clips) for offer in offers),
        key=lambda each: (
            each.dollars_per_clip is None,
            each.dollars_per_clip or each.offer.dollars_per_hour,
        ),
    )
