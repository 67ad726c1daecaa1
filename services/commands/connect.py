"""What makes a command's clips: the service that runs already, or a GPU child of the command's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from bootstrap import data_directory
from bootstrap.errors import KitError
from bootstrap.launch import location
from bootstrap.settings import Configuration
from bootstrap.terminal import Terminal
from services.commands.clip_maker import Maker


@asynccontextmanager
async def maker(
    configuration: Configuration, env: Mapping[str, str], terminal: Terminal
) -> AsyncIterator[Maker]:
    """The running service of the data directory, else the model in a process of our own."""
    settings = configuration.settings
    here = location.of_running(settings, env)
    record = data_directory.running(here.data_dir)
    if record is not None and "local_url" in record:
        from services.commands import served  # needs no model

        async with served.connect(record, terminal) as found:
            _same_model(found, configuration)
            yield found
        return
    from services.commands import local  # brings the boot

    async with local.boot(settings, here.data_dir, env, terminal) as found:
        yield found


def _same_model(maker: Maker, configuration: Configuration) -> None:
    """KitError when a flag names another model than the one that runs."""
    asked = configuration.settings.model
    if (
        configuration.sources["model"].startswith("flag")
        and asked != maker.model
        and Path(asked).stem != maker.model
    ):
        raise KitError(
            f"the service that runs has the model {maker.model}, and {asked} was asked for",
            fix=f"leave --model away, or end the service first: kinokit down; kinokit up --model {asked}",
        )
