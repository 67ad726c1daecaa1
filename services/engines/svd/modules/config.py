"""What a part's ``config.json`` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bootstrap.errors import KitError


def each(value: Any, levels: int) -> list[int]:
    """A number for each level, from one number or from a list of them."""
    return [int(one) for one in value] if isinstance(value, (list, tuple)) else [int(value)] * levels


def only(config: Mapping[str, Any], key: str, *known: object) -> Any:
    """The value of ``key``; absent means the first of ``known``.

    Raises:
        KitError: it is none of ``known``.
    """
    value = config.get(key, known[0])
    if value not in known:
        raise KitError(
            f"the checkpoint's config sets {key}: {value!r}, which this engine does not have",
            fix=f"use a model with {key}: {' or '.join(map(repr, known))}",
        )
    return value
