"""The user's accounts at the marketplaces: keys are read from the environment, here alone."""

from __future__ import annotations

import os

from bootstrap.errors import KitError
from bootstrap.platforms import registry
from bootstrap.platforms.market import Market


def market(platform: str) -> Market:
    """The client of a marketplace. KitError when its key is not set."""
    client = registry.market(platform)
    variable = client.key_variable
    key = os.environ.get(variable)
    if not key:
        raise KitError(
            f"{variable} is not set", fix=f"make a key on the marketplace's site, then export {variable}=…"
        )
    return client(key, os.environ.get(f"{variable}_ADDRESS"))
