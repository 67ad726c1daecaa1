"""All platforms: every folder here is one, and its files say what it can do.

``here.py`` recognises it; ``form.py`` says what to type to order a box; ``market.py`` rents one by API. A
platform without a form or without an API lacks that file. Both are imported when they are used: ``market.py``
brings an HTTP client. Every list of platforms is derived from this one.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bootstrap.errors import KitError
from bootstrap.platforms.base import Platform

if TYPE_CHECKING:
    from bootstrap.platforms.market import Market
    from bootstrap.platforms.order import Form, Order

Part = Literal["here", "form", "market"]

# A marketplace recognises only itself. These are asked last: a rented box is a container too, and ``bare``
# always says yes.
ASKED_LAST = ("docker", "bare")


def _folders() -> dict[str, str]:
    """Name -> folder, in the order in which they are asked: runpod-serverless -> runpod_serverless."""
    found = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)]) if each.ispkg]
    ordered = [*(name for name in found if name not in ASKED_LAST), *ASKED_LAST]
    return {folder.replace("_", "-"): folder for folder in ordered}


def _module(folder: str, part: Part) -> Any:
    return importlib.import_module(f"bootstrap.platforms.{folder}.{part}")


_FOLDERS = _folders()
PLATFORMS: dict[str, Platform] = {name: _module(folder, "here") for name, folder in _FOLDERS.items()}


def named(part: Literal["form", "market"]) -> tuple[str, ...]:
    """The platforms that have a form, or a market to rent from."""
    return tuple(
        name
        for name, folder in _FOLDERS.items()
        if importlib.util.find_spec(f"bootstrap.platforms.{folder}.{part}") is not None
    )


def form(name: str) -> Callable[[Order], Form]:
    """What makes the form of a marketplace. KitError for a name that has none."""
    make: Callable[[Order], Form] = _part(name, "form").form
    return make


def market(name: str) -> type[Market]:
    """The client of a marketplace's API. KitError for a name that has none."""
    client: type[Market] = _part(name, "market").Client
    return client


def _part(name: str, part: Literal["form", "market"]) -> Any:
    if name not in named(part):
        raise KitError(f"no marketplace is called {name!r}", fix=f"use one of {', '.join(named(part))}")
    return _module(_FOLDERS[name], part)
