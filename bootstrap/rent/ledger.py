"""The ledger of the user's rentals: a box stands in it before its order is sent, so that none is lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bootstrap.errors import KitError
from bootstrap.platforms.rental import Pending
from bootstrap.rent.state_file import StateFile

State = Literal["ordered", "rented", "stopped", "ended"]
NAME = "rentals.json"


class Span(BaseModel):
    """A time in which a box was paid for, in seconds since 1970. ``end`` None: it still is."""

    model_config = ConfigDict(frozen=True)
    start: float
    end: float | None = None

    def hours(self, now: float) -> float:
        return max((now if self.end is None else self.end) - self.start, 0.0) / 3600


class Entry(BaseModel):
    """One box. ``id`` None: it was ordered, and the answer never came; the label finds it."""

    model_config = ConfigDict(frozen=True)
    label: str
    platform: str
    model: str
    dollars_per_hour: float
    ordered_at: float
    id: str | None = None
    state: State = "ordered"
    gpu: str = ""
    gpus: int = 1
    host: str | None = None  # of whom it is rented, for the black list
    port: int = 8000
    url: str | None = None
    token: str | None = None
    deadline: float | None = None  # seconds since 1970
    idle_stop_minutes: float | None = None
    spans: tuple[Span, ...] = ()
    pulled: tuple[str, ...] = ()  # the ids of the clips that are on this machine
    wish: dict[str, Any] = Field(default_factory=dict)  # what was asked for, to rent the same again

    @property
    def is_open(self) -> bool:
        """It may still cost money."""
        return self.state != "ended"

    @property
    def link(self) -> str | None:
        """Where a person goes; the token signs in."""
        if self.url is None:
            return None
        return f"{self.url}/?token={self.token}" if self.token else self.url

    def hours(self, now: float) -> float:
        return sum(span.hours(now) for span in self.spans)

    def dollars(self, now: float) -> float:
        """What its hours cost; disks and traffic come on top."""
        return self.hours(now) * self.dollars_per_hour


class Ledger:
    """The file, one entry a label."""

    def __init__(self, folder: Path, warn: Callable[[str], None] = lambda _: None) -> None:
        self._file = StateFile(folder / NAME, warn)

    def entries(self) -> list[Entry]:
        """All, oldest first. What another version wrote and this one cannot read is left out."""
        return [entry for row in self._file.read() if (entry := _read(row)) is not None]

    def open(self) -> list[Entry]:
        return [each for each in self.entries() if each.is_open]

    def known_ids(self, platform: str) -> frozenset[str]:
        """The ids that this machine rented at a marketplace. Ended ones, too: a list may have hiccuped."""
        return frozenset(each.id for each in self.entries() if each.platform == platform and each.id)

    def pending(self, platform: str) -> list[Pending]:
        """The orders of a marketplace whose answer never came."""
        return [
            Pending(each.label, each.host, each.ordered_at)
            for each in self.open()
            if each.platform == platform and each.id is None and each.host
        ]

    def get(self, label: str) -> Entry:
        for each in self.entries():
            if each.label == label:
                return each
        raise KitError(f"no rental is called {label}", fix="see `kinokit rent list`")

    def find(self, platform: str, id: str) -> Entry | None:
        """The newest of this id: a marketplace may give a number again."""
        found = [each for each in self.entries() if each.platform == platform and each.id == id]
        return found[-1] if found else None

    def add(self, entry: Entry) -> Entry:
        with self._file.changing() as rows:
            rows.append(entry.model_dump(mode="json"))
        return entry

    def change(self, label: str, **values: Any) -> Entry:
        """Replace some values of an entry."""
        with self._file.changing() as rows:
            for number, row in enumerate(rows):
                if row.get("label") == label:
                    changed = Entry.model_validate(row | values)
                    rows[number] = row | changed.model_dump(mode="json")
                    return changed
        raise KitError(f"no rental is called {label}", fix="see `kinokit rent list`")

    def rented(self, label: str, id: str, now: float, **values: Any) -> Entry:
        """Its order was answered, or it was found again, or resumed: from now on at the latest it costs."""
        entry = self.get(label)
        spans = entry.spans
        if not spans or spans[-1].end is not None:
            spans = (*spans, Span(start=now if spans else entry.ordered_at))
        return self.change(label, id=id, state="rented", spans=_plain(spans), **values)

    def left(self, label: str, state: Literal["stopped", "ended"], now: float) -> Entry:
        """It no longer runs: what it cost ends here."""
        spans = tuple(
            span if span.end is not None else Span(start=span.start, end=now)
            for span in self.get(label).spans
        )
        return self.change(label, state=state, spans=_plain(spans))

    def pull(self, label: str, clip: str) -> None:
        """A clip of the box is on this machine."""
        entry = self.get(label)
        if clip not in entry.pulled:
            self.change(label, pulled=(*entry.pulled, clip))


def _plain(spans: tuple[Span, ...]) -> list[dict[str, Any]]:
    return [span.model_dump() for span in spans]


def _read(row: dict[str, Any]) -> Entry | None:
    try:
        return Entry.model_validate(row)
    except ValidationError:
        return None
