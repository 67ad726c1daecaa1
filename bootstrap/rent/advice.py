"""Whether another offer would be cheaper to the end, once the first bytes have shown what the link gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bootstrap.platforms.offer import Offer
from bootstrap.rent import duration

# A move has its own risk: it must save this part of the price of going on, and be worth the trouble.
LEAST_SHARE = 0.2
LEAST_DOLLARS = 0.02


@dataclass(frozen=True)
class Advice:
    """Going on against moving, both from now until the model is there."""

    offer: Offer
    stay_seconds: float
    stay_dollars: float
    move_seconds: float  # with the start of another box, which downloads everything again
    move_dollars: float

    def __str__(self) -> str:
        return (
            f"the download takes {self.stay_seconds / 60:.0f} more minutes here, ${self.stay_dollars:.2f};"
            f" on {self.offer.gpu} {self.offer.id} it would be there in {self.move_seconds / 60:.0f}"
            f" for ${self.move_dollars:.2f}"
        )


def cheaper_elsewhere(
    remaining_bytes: float,
    bytes_per_second: float,
    dollars_per_hour: float,
    offers: Sequence[Offer],
    *,
    whole_bytes: float,
) -> Advice | None:
    """The offer that saves most, or None when none saves enough or none is sooner there.

    ``whole_bytes``: what a fresh box has to download (``duration.download_bytes``). A rate of 0 is a link
    that gives nothing: everything else is sooner.
    """
    stay_seconds = remaining_bytes / max(bytes_per_second, 1.0)
    stay_dollars = stay_seconds / 3600 * dollars_per_hour
    moves = [_move(offer, whole_bytes, stay_seconds, stay_dollars) for offer in offers]
    saving = [
        move
        for move in moves
        if move.move_seconds < stay_seconds
        and stay_dollars - move.move_dollars >= max(LEAST_DOLLARS, LEAST_SHARE * stay_dollars)
    ]
    return min(saving, key=lambda move: move.move_dollars, default=None)


def _move(offer: Offer, whole_bytes: float, stay_seconds: float, stay_dollars: float) -> Advice:
    seconds = duration.START_SECONDS + whole_bytes / duration.link_bytes_per_second(offer)
    dollars = seconds / 3600 * offer.dollars_per_hour + whole_bytes / 1e9 * offer.dollars_per_gb_down
    return Advice(offer, stay_seconds, stay_dollars, seconds, dollars)
