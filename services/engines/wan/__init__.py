"""Wan 2.2: prompts and photos to clips. Torch is imported when ``load`` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.choose.plan import Plan
    from services.engines.base import Engine, Start


def prepare(plan: Plan, start: Start) -> None:
    """Import all that ``load`` and the first clip need, and start the GPU; needs no weights."""
    from services.engines.start import gpu_init

    with gpu_init.initialised(plan.device, start.spans), start.spans.span("import the engine"):
        from services.engines.wan import loading, warmup  # noqa: F401
    warmup.begin(plan, start)


def load(plan: Plan, start: Start) -> Engine:
    """Put the model where the plan's profile wants it; see ``services.engines.base``.

    Raises:
        KitError: a file does not fit its role or the model; names the keys that are wrong.
        OutOfMemory: the profile does not fit the GPU.
    """
    from services.engines.wan import loading  # here, so that naming the family never imports torch

    loaded = loading.load(plan, start)
    start.background.finish()
    return loaded
