"""What every platform's ``here.py`` offers: who am I, where am I reached, where do files stay, how do I stop.

All functions are pure over the environment of the container. Addresses are computed at each boot and
never kept: port mappings and public addresses change when a box is started again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

Env = Mapping[str, str]


@dataclass(frozen=True)
class StopRequest:
    """The request that stops this box, sent with a key that can do nothing else.

    The key is named by its variable and not held here, so that it cannot be printed by accident.
    """

    method: Literal["POST", "PUT"]
    url: str
    key_variable: str
    body: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Stop:
    """How the box ends its own rent. Without a ``request`` only a person can."""

    description: str
    request: StopRequest | None = None


class Platform(Protocol):
    """One platform; a module with these names."""

    NAME: str  # the folder's, with "-" for "_"
    TITLE: str  # as people write it
    IS_RENTED: bool  # a machine that costs money until somebody ends it
    STOPS_ITSELF: bool  # its container is given a key that can stop it
    IS_SHORT_LIVED: bool  # boxes come and go with new names: nobody returns to what one leaves on a volume
    # The platform's proxy cuts a request that takes longer; None where there is none, or no limit is known.
    PROXY_TIMEOUT_SECONDS: float | None
    # Where nothing in the container names its address: the first visit does, under this domain.
    ADDRESS_DOMAIN: str | None
    # Variables of the platform that give a setting of the kit its value: setting -> variable.
    SETTINGS: Mapping[str, str]

    def is_here(self, env: Env) -> bool:
        """Is this container on the platform?"""

    def public_url(self, env: Env, port: int) -> str | None:
        """Where a person reaches the port; None when the platform does not say."""

    def direct_port(self, env: Env, port: int) -> int | None:
        """The outside number of the port where requests pass the proxy by; None when there is no such way."""

    def data_dir(self, env: Env) -> str:
        """The directory that survives the longest."""

    def box(self, env: Env) -> str | None:
        """The name that this box keeps when it restarts, and that no other on its volume has.

        None where no two boxes share a volume.
        """

    def stop(self, env: Env) -> Stop:
        """How the box stops itself."""


def alone(env: Env) -> str | None:
    """For a platform where each box has a disk of its own: ``box = alone``."""
    return None


def no_direct_port(env: Env, port: int) -> int | None:
    """For a platform that has no proxy, or no way around it: ``direct_port = no_direct_port``."""
    return None
