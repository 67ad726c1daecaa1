"""What commands need of the maker of their clips: the running service, or a process of their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bootstrap.errors import KitError
from bootstrap.terminal import duration
from services import parameters
from services.parameters import images

Report = Callable[[str], None]  # one line about how far it is


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

    async def make(self, given: Mapping[str, Any], image: Path | None, output: Path, report: Report) -> Made:
        """Make one clip. Raises ``Failed`` when this one cannot be made, ``KitError`` when none can."""


def photo(path: Path) -> images.Picture:
    """The file, checked as the service checks it, before a model is loaded. Raises ``Failed``."""
    if path.is_dir():
        raise Failed(f"{path} is a folder", fix=f"make a clip of each of its photos: kinokit batch {path}")
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise Failed(f"there is no file {path}", fix="check the path") from error
    except OSError as error:
        raise Failed(f"{path} cannot be read: {error.strerror}", fix="check its rights") from error
    try:
        return images.check(data, max_bytes=images.MAX_BYTES)
    except parameters.RequestError as error:
        raise Failed(f"{path}: {error.problem}", fix=error.fix) from error


def progress_line(stage: str | None, progress: float, eta_seconds: float | None) -> str:
    """
    >>> progress_line("sample", 0.42, 12.3)
    ' 42 %  sample  12 s left'
    """
    left = f"  {duration(eta_seconds)} left" if eta_seconds else ""
    return f"{progress * 100:3.0f} %  {stage or 'starting'}{left}"
