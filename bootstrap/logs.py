"""The lines of all logs: as text for people, or one JSON object a line for programs that collect them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

Form = Literal["text", "json"]
TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
# Fields that a record may carry beside its message: of an access line, and what the line is about.
FIELDS = ("method", "route", "status", "ms", "client", "job_id")

_about: ContextVar[Mapping[str, str] | None] = ContextVar("about", default=None)
_form: Form = "text"


@contextmanager
def about(**fields: str) -> Iterator[None]:
    """Every line from within tells these, such as ``job_id``."""
    before = _about.set({**(_about.get() or {}), **fields})
    try:
        yield
    finally:
        _about.reset(before)


class JsonLines(logging.Formatter):
    """``more``: what else is known at the moment of a line; None is left out."""

    def __init__(self, more: Callable[[], Mapping[str, str | None]] = dict) -> None:
        super().__init__()
        self._more = more

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= {name: value for name, value in self._more().items() if value is not None}
        line |= _about.get() or {}
        line |= {name: getattr(record, name) for name in FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


class JsonWriter:
    """A file into which people's lines are printed, as lines of JSON."""

    def __init__(self, file: TextIO, logger: str) -> None:
        self._file = file
        self._logger = logger
        self.name = file.name

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if text.strip():
            record = logging.LogRecord(self._logger, logging.INFO, "", 0, text.strip(), None, None)
            self._file.write(JsonLines().format(record) + "\n")
        return len(text)

    def flush(self) -> None:
        self._file.flush()


def formatter(form: Form, more: Callable[[], Mapping[str, str | None]] = dict) -> logging.Formatter:
    return JsonLines(more) if form == "json" else logging.Formatter(TEXT)


def begin(form: Form, more: Callable[[], Mapping[str, str | None]] = dict) -> None:
    """For a process whose standard error is its log. What ends it is a line as well."""
    global _form
    _form = form
    handler = logging.StreamHandler()
    handler.setFormatter(formatter(form, more))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    if form == "json":
        logging.captureWarnings(True)
        sys.excepthook = _log_end


def flags() -> list[str]:
    """For a process that this one starts: its lines go into the same log."""
    return ["--log-format", _form]


def _log_end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    logging.getLogger("kinokit").critical("ended by a bug", exc_info=(kind, error, trace))
