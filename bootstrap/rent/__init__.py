"""Renting from your own machine with your own key: find offers, start a box, watch it, end it.

Nothing of this runs in a container: a marketplace's account key must never be there.
"""

from __future__ import annotations

from bootstrap.rent import clore, runpod, vast
from bootstrap.rent.market import Market

# Each makes a client from a key and, for tests, another address.
MARKETS: dict[str, type[Market]] = {"vast": vast.Vast, "runpod": runpod.RunPod, "clore": clore.Clore}
KEY_VARIABLES = {"vast": "VAST_API_KEY", "runpod": "RUNPOD_API_KEY", "clore": "CLORE_API_KEY"}
