"""How a profile asks for SVD to be run: speed against memory. None of these changes a clip."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from bootstrap.errors import KitError

Offload = Literal["none", "model", "stream"]
Guidance = Literal["together", "apart"]


@dataclass(frozen=True)
class Settings:
    """``offload``: everything on the GPU, the part in use, or a few layers of it.

    ``guidance``: both branches in one pass, or one after the other in half the memory.
    ``feed_rows``: pixels that a feed-forward layer takes at a time; None is all of them.
    ``decode_chunk_size``: frames that the decoder's layers take at a time; None is all of them.
    """

    offload: Offload = "none"
    guidance: Guidance = "together"
    feed_rows: int | None = None
    decode_chunk_size: int | None = None

    @classmethod
    def read(cls, settings: Mapping[str, Any]) -> Settings:
        """From a profile.

        Raises:
            KitError: names the setting that is not known or not legal.
        """
        legal: dict[str, tuple[Any, ...] | str] = {
            "offload": get_args(Offload),
            "guidance": get_args(Guidance),
            "feed_rows": "a number of pixels, or null",
            "decode_chunk_size": "a number of frames, or null",
        }
        for key, value in settings.items():
            allowed = legal.get(key)
            whole = value is None or (type(value) is int and value > 0)
            if allowed is None or not (value in allowed if isinstance(allowed, tuple) else whole):
                raise KitError(
                    f"the profile sets {key}: {value!r}",
                    fix="; ".join(f"{name}: {_listed(values)}" for name, values in legal.items()),
                )
        return cls(**settings)


def _listed(values: tuple[Any, ...] | str) -> str:
    return values if isinstance(values, str) else ", ".join(values)
