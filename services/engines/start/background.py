"""What is done beside the loading, one thing after the other: the first clip needs it, loading does not."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait

from services.engines.start.spans import Spans

log = logging.getLogger("kinokit.background")

# Of the GPU that must be free: a part takes up to 6 GiB with small profiles, and loading comes first.
ROOM_BYTES = 10 * 1024**3


class Background:
    """The work of one start."""

    def __init__(self, spans: Spans) -> None:
        self._spans = spans
        self._pool = ThreadPoolExecutor(1, "background")
        self._begun: list[Future[None]] = []

    def do(self, name: str, step: Callable[[], object], *, room_bytes: int = ROOM_BYTES) -> None:
        """``name`` is for the timeline. What fails is done again by the clip, which says what is wrong.

        ``room_bytes`` of the GPU must be free, or the step is left out.
        """
        self._begun.append(self._pool.submit(self._guarded, name, step, room_bytes))

    def finish(self) -> None:
        """Wait for all of it: a clip wants the memory back."""
        wait(self._begun)
        self._begun.clear()

    def _guarded(self, name: str, step: Callable[[], object], room_bytes: int) -> None:
        import torch

        if torch.cuda.is_available() and torch.cuda.mem_get_info()[0] < room_bytes:
            gib = room_bytes / 1024**3
            log.info("did not %s ahead of the first clip: less than %.0f GiB of the GPU are free", name, gib)
            return
        try:
            with self._spans.span(name), torch.inference_mode():
                step()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                    torch.cuda.empty_cache()
        except Exception:
            log.warning("could not %s ahead of the first clip", name, exc_info=True)
