"""The options that several commands of renting have."""

from __future__ import annotations

from typing import Annotated

import typer

from bootstrap.platforms import registry

Platform = Annotated[str, typer.Option(help=f"One of {', '.join(registry.named('market'))}.")]
Model = Annotated[str, typer.Option(help="Which model to run.")]
MaxPrice = Annotated[float, typer.Option(help="Dollars an hour that no offer may exceed.")]
Clips = Annotated[int, typer.Option(min=1, help="Clips of the session, for the cost of one.")]
ProfileName = Annotated[str | None, typer.Option(help="A profile of the model; the smallest when absent.")]
