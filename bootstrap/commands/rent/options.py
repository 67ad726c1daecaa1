"""The options that several commands of renting have."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap.platforms import registry
from bootstrap.platforms.offer import MIN_DOWN_MBPS, MIN_RELIABILITY

MARKETS = ", ".join(registry.named("market"))

Platform = Annotated[str, typer.Option(help=f"One of {MARKETS}.")]
AnyPlatform = Annotated[
    str | None, typer.Option(help=f"One of {MARKETS}; else every one whose key is set is asked.")
]
Id = Annotated[str, typer.Argument(help="The rental's id, or its label.")]
Model = Annotated[str, typer.Option(help="Which model to run.")]
MaxPrice = Annotated[float, typer.Option(help="Dollars an hour that no offer may exceed.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of the session, for the cost of one.")]
ProfileName = Annotated[str | None, typer.Option(help="A profile of the model; the smallest when absent.")]
HfToken = Annotated[str | None, typer.Option(help="For a gated model; the owner of the machine can read it.")]

Region = Annotated[
    str | None, typer.Option(help="Countries as two letters, with commas: SE,DE. Any when absent.")
]
Gpus = Annotated[int, typer.Option(min=1, help="How many GPUs the box has.")]
MinPcie = Annotated[float | None, typer.Option(help="At least so many GB/s from RAM to the GPU.")]
MinLink = Annotated[float, typer.Option(min=0, help="At least so many Mbit/s down.")]
MinDiskRate = Annotated[float | None, typer.Option(help="At least so many MB/s of the disk.")]
MinReliability = Annotated[float, typer.Option(min=0, max=1, help="At least this part of the time up.")]
Interruptible = Annotated[
    bool, typer.Option("--interruptible", help="Cheaper boxes that the marketplace may take back.")
]
LINK = MIN_DOWN_MBPS
RELIABILITY = MIN_RELIABILITY


def regions(text: str | None) -> tuple[str, ...]:
    """
    >>> regions("se, DE")
    ('SE', 'DE')
    """
    return tuple(part.strip().upper() for part in (text or "").split(",") if part.strip())
