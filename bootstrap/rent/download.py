"""What a box says of its download to whoever watches it, and what another offer would make of the rest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError
from bootstrap.platforms.offer import Offer
from bootstrap.rent import duration
from bootstrap.rent.advice import Advice, cheaper_elsewhere

ASK_AGAIN_SECONDS = 300.0  # the marketplace, for as long as nothing is cheaper


@dataclass(frozen=True)
class Download:
    """Measured by the box on its first bytes."""

    remaining_bytes: float
    bytes_per_second: float

    @classmethod
    def of(cls, body: Any) -> Download | None:
        """From the answer of ``/readyz``; None before it was measured, or when it is no answer of the kit."""
        try:
            said = body["download"]
            return cls(float(said["remaining_bytes"]), float(said["bytes_per_second"]))
        except (KeyError, TypeError, ValueError):
            return None


class Adviser:
    """Looks for a cheaper offer once the link is known; speaks once."""

    def __init__(
        self,
        model: Manifest,
        dollars_per_hour: float | None,
        offers: Callable[[], Sequence[Offer]],
        clock: Callable[[], float],
    ) -> None:
        """``offers`` asks the marketplace anew."""
        self._whole_bytes = duration.download_bytes(model)
        self._price = dollars_per_hour
        self._offers = offers
        self._clock = clock
        self._asked_at: float | None = None
        self._has_spoken = False

    def see(self, download: Download | None) -> Advice | None:
        """The advice, the first time that there is one; none while the marketplace does not answer."""
        now = self._clock()
        is_early = self._asked_at is not None and now - self._asked_at < ASK_AGAIN_SECONDS
        if download is None or self._price is None or self._has_spoken or is_early:
            return None
        self._asked_at = now
        try:
            offers = self._offers()
        except KitError:
            return None
        found = cheaper_elsewhere(
            download.remaining_bytes,
            download.bytes_per_second,
            self._price,
            offers,
            whole_bytes=self._whole_bytes,
        )
        self._has_spoken = found is not None
        return found
