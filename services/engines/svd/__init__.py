"""Stable Video Diffusion: one photo becomes 14 or 25 frames. Torch is imported when ``load`` is called."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bootstrap.choose.plan import Plan
    from services.engines.base import Engine, Start


def prepare(plan: Plan, start: Start) -> None:
    """Import all that ``load`` and the first clip need, and start the GPU; needs no weights."""
    from services.engines.start import gpu_init

    with gpu_init.initialised(plan.device, start.spans), start.spans.span("import the engine"):
        from services.engines.svd import warmup
    warmup.begin(plan, start)


def load(plan: Plan, start: Start) -> Engine:
    """Put the model where the plan's profile wants it; see ``services.engines.base``.

    Raises:
        KitError: the folder is not an SVD checkpoint; names the keys that are missing, unknown or misshapen.
    """
    from services.engines.svd import engine  # here, so that asking for limits or presets never imports torch

    loaded = engine.load(plan, start)
    start.background.finish()
    return loaded
