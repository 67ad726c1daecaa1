"""The front: one process, one port. It answers before there is a model, and never imports torch.

python -m services.front.app --data-dir D (--fd N | --host H --port P) [--settings FILE]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import Depends, FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.types import ASGIApp

from bootstrap import logs
from bootstrap.errors import KitError
from bootstrap.launch import listener
from services.front import described, errors, hub_token, queue_jobs, queue_pause, studio, upkeep, workers
from services.front.context import Context, Shared
from services.front.door import keys, ownership
from services.front.door.auth import OPEN_PATHS, Auth
from services.front.door.content_policy import ContentPolicy, Page
from services.front.door.cross_origin import CrossOrigin
from services.front.door.door import Door
from services.front.health import health, presence, public_address, stay
from services.front.health.access import Access
from services.front.metrics import metrics
from services.front.metrics.account import Account
from services.front.openai import batches, edits, models, shared, videos, webhooks
from services.front.pages import boot_page
from services.front.port import connections, request_ids, tls_port
from services.front.port.request_ids import NameRequests
from services.front.port.server import AccessFilter, Server
from services.front.settings import Settings

STOP_SECONDS = 3  # for answers under way; then they are cut


class App(FastAPI):
    """What holds for every answer is outside of all middleware: the answers to bugs are, too."""

    def build_middleware_stack(self) -> ASGIApp:
        settings = self.state.context.settings
        inner = CrossOrigin(super().build_middleware_stack(), origins=settings.cors_origins)
        return ContentPolicy(inner, frame_ancestors=settings.frame_ancestors)


def assemble(settings: Settings) -> FastAPI:
    """The whole app, in one place."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    context = Context(settings)
    # No redirects for a slash too many: their address would come from the request's Host header.
    app = App(
        title="kinokit",
        lifespan=_life,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(ownership.check)],
    )
    app.state.context = context
    errors.install(app)
    app.add_middleware(presence.CountUse, presence=context.presence)
    app.add_middleware(
        Auth,
        door=Door(settings, context.keys, public_url=lambda: str(context.boot.document().get("url") or "")),
        sign_in=boot_page.sign_in_page,
        viewer=boot_page.viewer_page,
        open_paths=_open_paths(settings),
    )
    app.add_middleware(errors.AnswerBugs)
    app.add_middleware(Account, tally=context.tally)
    app.add_middleware(NameRequests)
    app.include_router(health.router)
    if settings.metrics != "off":
        app.include_router(metrics.router)
    app.include_router(hub_token.router)
    app.include_router(stay.router)
    app.include_router(queue_jobs.router)
    app.include_router(queue_pause.router)
    app.include_router(batches.router)
    app.include_router(edits.router)
    app.include_router(videos.router)
    app.include_router(shared.router)
    app.include_router(webhooks.router)
    app.include_router(models.router)
    app.include_router(keys.router)
    app.include_router(workers.router)
    described.install(app, open_paths=_open_paths(settings) | {shared.PATH})
    for path in ("/", studio.PATH):
        app.add_api_route(path, _home, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/favicon.ico", _icon, methods=["GET"], include_in_schema=False)
    return app


def _open_paths(settings: Settings) -> frozenset[str]:
    return OPEN_PATHS | {metrics.PATH} if settings.metrics == "open" else OPEN_PATHS


async def _home(request: Request, context: Shared) -> Response:
    """The boot page; the studio once it can be used."""
    access = Access.read(context.boot.document())
    public_address.learn(request, context.settings.data_dir, access.address_domains)
    if context.boot.state() == "ready" and context.studio == "ready":
        return RedirectResponse(f".{studio.PATH}/", 307, headers={"Cache-Control": "no-store"})
    return Page(boot_page.page(), headers=boot_page.HEADERS)


async def _icon() -> Response:
    """Browsers ask for it at this address, whatever a page says."""
    return Response(
        boot_page.drawing(), media_type="image/svg+xml", headers={"Cache-Control": "max-age=86400"}
    )


@asynccontextmanager
async def _life(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    tasks = [asyncio.create_task(upkeep.keep(context)), asyncio.create_task(context.webhooks.run())]
    if context.retention.is_on:
        tasks.append(asyncio.create_task(context.retention.run()))
    if context.outbox is not None:
        tasks.append(asyncio.create_task(context.outbox.empty()))
    if context.settings.service == "ui":
        tasks.append(asyncio.create_task(_studio(app, context)))
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        context.close()


async def _studio(app: FastAPI, context: Context) -> None:
    """Gradio takes seconds to import: it comes after the port answers and the model is known."""
    while (plan := context.boot.plan()) is None:  # noqa: ASYNC110 - a file that another process writes
        await asyncio.sleep(0.5)
    await studio.attach(app, plan, context)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.front.app")
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--fd", type=int, help="a socket that listens already")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument(
        "--settings", type=argparse.FileType(), help="what the agent resolved, as JSON; - is standard input"
    )
    return parser.parse_args(argv)


def listen(given: argparse.Namespace) -> socket.socket:
    if given.fd is not None:
        return socket.socket(fileno=given.fd)
    return listener.listen(given.host, given.port)


def main(argv: Sequence[str] | None = None) -> None:
    signal.signal(signal.SIGTERM, _leave)
    os.umask(0o077)  # prompts, photos and clips are for nobody else of this machine
    given = arguments(argv)
    resolved = json.load(given.settings) if given.settings else {}
    logs.begin(resolved.get("log_format", "text"), lambda: {"request_id": request_ids.current()})
    logging.getLogger("uvicorn.access").addFilter(AccessFilter())
    most = connections.raise_file_limit()
    try:
        listening = listen(given)
        host, port = listening.getsockname()[:2]
        settings = Settings.of(resolved, data_dir=given.data_dir, host=host, port=port)
        tls = tls_port.of(settings)
        app = assemble(settings)
    except KitError as error:
        raise SystemExit(f"error: {error}") from None
    config = uvicorn.Config(app, log_config=None, timeout_graceful_shutdown=STOP_SECONDS, server_header=False)
    with suppress(KeyboardInterrupt):
        Server(config, app.state.context.notifier, most_connections=most, tls=tls).run(sockets=[listening])


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    main()
