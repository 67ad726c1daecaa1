"""Work in a thread that does not hold up the end of the process, as an executor's would."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

Result = TypeVar("Result")


async def run(work: Callable[[], Result], *, name: str) -> Result:
    """What ``work`` returns or raises."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(method: Callable[[Any], None], value: Any) -> None:
        if not done.done():
            method(value)

    def call() -> None:
        try:
            result = work()
        except BaseException as error:
            with suppress(RuntimeError):  # the loop has ended meanwhile
                loop.call_soon_threadsafe(settle, done.set_exception, error)
        else:
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(settle, done.set_result, result)

    threading.Thread(target=call, name=name, daemon=True).start()
    return await done
