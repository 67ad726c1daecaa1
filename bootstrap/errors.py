"""The one error class that a user is meant to read."""

from __future__ import annotations


class KitError(Exception):
    """A problem that the person renting the machine can act on.

    ``problem`` says what is wrong, with the numbers; ``fix`` says what to do next.
    The terminal, the boot page and the API show the same two fields.
    ``exit_code`` is the command's when this error ends it.
    Anything else that escapes is a bug in the kit, and keeps its traceback in the log.
    """

    exit_code = 1

    def __init__(self, problem: str, *, fix: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.problem}\n  fix: {self.fix}"
