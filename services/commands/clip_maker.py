"""Whoever makes a clip for a command: the service that runs already, or a GPU child of the command's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bootstrap import data_directory
from bootstrap.errors import KitError
from bootstrap.launch import location
from bootstrap.settings import Configuration
from bootstrap.terminal import Terminal, duration
from services import parameters
from services.front import images
from services.front.settings import MAX_IMAGE_BYTES

Told = Callable[[str], None]  # one line about how far it is


class Failed(KitError):
    """This clip could not be made; the maker goes on to work."""


@dataclass(frozen=True)
class Made:
    """A finished clip."""

    path: Path
    seed: int
    frames: int
    size: str  # WIDTHxHEIGHT
    seconds: float  # that it took
    warnings: tuple[str, ...] = ()  # each once


class Maker(Protocol):
    """``model`` is the name of what makes the clips."""

    model: str
    inputs: tuple[str, ...]

    async def make(self, given: Mapping[str, Any], image: Path | None, output: Path, told: Told) -> Made:
        """Make one clip. Raises ``Failed`` when this one cannot be made, ``KitError`` when none can."""


@asynccontextmanager
async def start(
    configuration: Configuration, env: Mapping[str, str], terminal: Terminal
) -> AsyncIterator[Maker]:
    """The running service of the data directory, else the model in a process of our own."""
    settings = configuration.settings
    here = location.of(settings, env)
    record = data_directory.running(here.data_dir)
    if record is not None and "local_url" in record:
        from services.commands import served  # needs no model

        async with served.connect(record, terminal) as maker:
            _same_model(maker, configuration)
            yield maker
        return
    from services.commands import local  # brings the boot

    async with local.boot(settings, here.data_dir, env, terminal) as maker:
        yield maker


def _same_model(maker: Maker, configuration: Configuration) -> None:
    """A model that was asked for by name is not silently replaced by the one that happens to run."""
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


def photo(path: Path) -> images.Picture:
    """The file, checked as the service checks it and told before a model is loaded. Raises ``Failed``."""
    if path.is_dir():
        raise Failed(f"{path} is a folder", fix=f"make a clip of each of its photos: kinokit batch {path}")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Failed(f"there is no file {path}", fix="check the path") from error
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", fix="check its rights") from error
    try:
        return images.check(data, max_bytes=MAX_IMAGE_BYTES)
    except parameters.RequestError as error:
        raise Failed(f"{path}: {error.problem}", fix=error.fix) from error


def progress_line(stage: str | None, progress: float, eta_seconds: float | None) -> str:
    """
    >>> progress_line("sample", 0.42, 12.3)
    ' 42 %  sample  12 s left'
    """
    left = f"  {duration(eta_seconds)} left" if eta_seconds else ""
    return f"{progress * 100:3.0f} %  {stage or 'starting'}{left}"
