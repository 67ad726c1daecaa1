"""Ctrl-C, a closed terminal and a polite kill, as one exception that arrives where it does no harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from bootstrap.errors import KitError

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signalled(BaseException):
    """The person, or the system, ends the command. What goes on after errors does not see it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        return 128 + self.number


class Ended(KitError):
    """Nothing was under way that a person must be told of."""

    def __init__(self, signalled: Signalled) -> None:
        super().__init__(f"ended by {signalled}", fix="see what is rented with `kinokit rent list`")
        self.exit_code = signalled.exit_code


class Signals:
    """Raises ``Signalled`` as soon as nothing is held."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._held = 0
        self._waiting: int | None = None

    def handle(self, number: int, _frame: FrameType | None = None) -> None:
        self._waiting = self._waiting or number
        if self._held:
            self._say("an order is under way: its answer is waited for, then this ends")
        else:
            self._raise()

    @contextmanager
    def held(self) -> Iterator[None]:
        """What must not be torn apart, as an order and its answer: a signal waits until the block ends."""
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
        if not self._held:
            self._raise()

    def _raise(self) -> None:
        number, self._waiting = self._waiting, None
        if number is not None:
            raise Signalled(number)


@contextmanager
def caught(say: Callable[[str], None] = lambda _: None) -> Iterator[Signals]:
    """Signals arrive as ``Signalled`` within the block. In a thread Python gives nobody a signal."""
    signals = Signals(say)
    if threading.current_thread() is not threading.main_thread():
        yield signals
        return
    before = {number: signal.signal(number, signals.handle) for number in ENDING}
    try:
        yield signals
    except Signalled as signalled:
        raise Ended(signalled) from signalled
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
