"""What every engine offers. Frames are handed over as they are decoded: encoding overlaps decoding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from services.engines.start.background import Background
from services.engines.start.spans import Spans

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from bootstrap.choose.plan import Plan
    from services.parameters.values import Values

# As torch's allocators, cuBLAS and cuDNN, and the driver say it.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "alloc_failed", "out_of_memory")
ClipStage = Literal["encode", "sample", "decode"]
# "wait": for files that are on their way
Stage = Literal["wait", "load"] | ClipStage
# stage, done, total; total 0 when it is not known
Report = Callable[[Stage, int, int], None]
# True once the job was cancelled; engines ask between steps
Cancelled = Callable[[], bool]


Frame: TypeAlias = "NDArray[np.uint8]"  # RGB [height, width, 3]


class Cancel(Exception):
    """Raised by an engine that saw ``cancelled()``; memory is freed before it leaves."""


class OutOfMemory(Exception):
    """The GPU's memory did not suffice; carries the numbers. The engine is still usable afterwards."""

    def __init__(self, message: str, *, wanted_bytes: int | None, peak_bytes: int, total_bytes: int) -> None:
        super().__init__(message)
        self.wanted_bytes = wanted_bytes
        self.peak_bytes = peak_bytes
        self.total_bytes = total_bytes


def is_out_of_memory(error: BaseException) -> bool:
    """True for what torch, its libraries, the driver and Python raise; pinned memory is the driver's."""
    # By name: the caller need not have torch.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


@dataclass(frozen=True)
class Start:
    """What an engine is prepared and loaded with besides its plan, once in a process."""

    report: Report
    rank: int = 0  # 0 is the one that hands the frames over
    world: int = 1  # processes that make one clip together
    spans: Spans = field(default_factory=Spans)

    @cached_property
    def background(self) -> Background:
        """What is done beside the loading."""
        return Background(self.spans)


class Engine(Protocol):
    """A loaded model."""

    def generate(
        self, values: Values, image: Path | None, report: Report, cancelled: Cancelled
    ) -> Iterator[Frame]:
        """Yield the frames in order.

        ``image`` already has the clip's width and height: the worker fits it with ``services.video.fit``.
        """


@dataclass(frozen=True)
class Shape:
    """Of a clip between two stages."""

    frames: int
    fps: int


class FrameStage(Protocol):
    """Something that is done with frames as they come: interpolating, enlarging, keeping them in a file.

    Stages that need torch lie in ``services.engines.frames``.
    """

    name: str  # in progress, estimate and timings: <name>_seconds

    def shape(self, given: Shape) -> Shape:
        """Of the clip that ``run`` makes of one of this shape."""

    def run(self, frames: Iterator[Frame], given: Shape) -> Iterator[Frame]:
        """Hand frames on as early as can be; what is held is freed when the generator is closed."""


class EngineModule(Protocol):
    """An engine's package, e.g. ``services.engines.svd``."""

    def prepare(self, plan: Plan, start: Start) -> None:
        """What takes its time and needs no weights, called while they still arrive."""

    def load(self, plan: Plan, start: Start) -> Engine:
        """Put the model where the plan's profile wants it, each part when ``Arriving`` says it is there."""


def nothing_to_prepare(plan: Plan, start: Start) -> None:
    """An engine without preparation says ``prepare = base.nothing_to_prepare``."""
