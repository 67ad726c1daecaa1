"""The studio, a page of Gradio's. Only building it imports Gradio, which takes seconds."""

from __future__ import annotations

import asyncio
import logging
import os

from fastapi import FastAPI

from bootstrap.choose.plan import Plan
from services.front.context import Context

log = logging.getLogger("kinokit.front")

PATH = "/studio"
NAME = "studio"


async def attach(app: FastAPI, plan: Plan, context: Context) -> None:
    """Build the studio, mount it at ``PATH`` and keep it alive until this task is cancelled.

    Run it as a task on the app's own loop: Gradio starts and stops on the loop that serves it. Building takes
    seconds and happens in a thread. Once ``context.studio`` is "ready", ``GET /`` should lead to ``studio/``.
    """
    context.studio = "starting"
    try:
        studio = await asyncio.to_thread(_build, plan)
        async with studio.router.lifespan_context(studio):
            app.mount(PATH, studio, name=NAME)
            context.studio = "ready"
            await asyncio.Event().wait()
    except Exception:
        context.studio = "failed"
        log.exception("the studio could not be started; the API goes on")
    finally:
        app.router.routes[:] = [route for route in app.router.routes if getattr(route, "name", "") != NAME]


def _build(plan: Plan) -> FastAPI:
    os.environ.update(
        # Gradio reads them when it is imported: nothing of a user's work is sent to anybody else.
        GRADIO_ANALYTICS_ENABLED="False",
        HF_HUB_DISABLE_TELEMETRY="1",
        GRADIO_TEMP_DIR=str(plan.data_dir / "cache" / "studio"),
    )
    from services.front.studio import page as studio  # imports Gradio, which takes seconds

    return studio.application(plan)
