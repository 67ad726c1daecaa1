"""Keeping a box: its clips leave as they finish, its last hour holds, another follows one that is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError
from bootstrap.platforms.market import MarketError, NotOffered, Rental
from bootstrap.rent import pulling, renting, watch
from bootstrap.rent.ledger import Entry
from bootstrap.rent.renting import Desk
from bootstrap.rent.watch import StillRented
from bootstrap.rent.wish import Wish

LOOK_SECONDS = 10.0
NO_OFFER_SECONDS = 60.0


@dataclass
class Keeper:
    """Watches one box, and those that follow it, until its last hour or until it is gone."""

    desk: Desk
    wish: Wish
    manifest: Manifest
    entry: Entry
    folder: Path | None  # where clips are copied to; None: nowhere
    replaces: bool
    hf_token: str | None = None
    tries: int = 3
    told: Callable[[Entry], None] = lambda _: None  # of each box that follows
    _said: str = ""
    _bad_looks: int = 0
    _is_pulled: bool = False  # all that was finished at the last look is here

    def run(self) -> str:
        """Until there is nothing more to keep; what happened, in a sentence. StillRented when it costs on."""
        pause = LOOK_SECONDS
        while True:
            if self._is_over():
                return self._finish()
            try:
                lost = self._lost()
                pause = LOOK_SECONDS
            except MarketError as error:
                lost, pause = "", min(pause * 2, watch.LONGEST_PAUSE_SECONDS)
                self._say(f"{error.problem}; asked again")
            if lost:
                ended = self._follow(lost)
                if ended:
                    return ended
            self._pull()
            self.desk.sleep(self._until_next_look(pause))

    def _is_over(self) -> bool:
        return self.entry.deadline is not None and self.desk.now() >= self.entry.deadline

    def _until_next_look(self, pause: float) -> float:
        if self.entry.deadline is None:
            return pause
        return max(min(pause, self.entry.deadline - self.desk.now()), 0.1)

    def _lost(self) -> str:
        """Why it is lost, when several looks say so."""
        port = self.entry.port
        found = next((each for each in self.desk.market.rentals(port) if each.id == self.entry.id), None)
        if found is not None and found.state not in watch.LOST:
            self._bad_looks = 0
            self._see(found)
            return ""
        self._bad_looks += 1
        state = "gone" if found is None else found.state
        return state if self._bad_looks >= watch.BAD_LOOKS else ""

    def _see(self, found: Rental) -> None:
        """Its address may change when it is started again."""
        if found.url and found.url != self.entry.url:
            self.entry = self.desk.ledger.change(self.entry.label, url=found.url)

    def _pull(self) -> bool:
        """Copy what is finished; False when that was not possible."""
        self._is_pulled = False
        if self.folder is None or self.entry.url is None:
            return False
        try:
            pulling.once(self.desk.ledger, self.entry, self.entry.url, self.folder, report=self.desk.report)
        except KitError as error:
            self._say(f"{error.problem}; tried again")
            return False
        finally:
            self.entry = self.desk.ledger.get(self.entry.label)
        self._is_pulled = True
        return True

    def _finish(self) -> str:
        """Its last hour is over: what can be stopped and may hold clips keeps its disk, all else is ended."""
        id = self.entry.id
        if not self._pull():
            try:
                self.desk.market.stop(str(id))
            except NotOffered:
                pass
            except MarketError as error:
                self._say(error.problem)
            else:
                self.desk.ledger.left(self.entry.label, "stopped", self.desk.now())
                line = watch.stop_line(self.entry.platform, str(id))
                return f"its hours are over: {id} is stopped with its clips, and its disk costs until {line}"
        renting.end(self.desk, self.entry)
        return f"its hours are over: {id} is ended"

    def _follow(self, lost: str) -> str:
        """The next box; what happened where there is none."""
        id, line = self.entry.id, watch.stop_line(self.entry.platform, str(self.entry.id))
        if lost == "stopped":  # by itself, or by a person: nobody took it
            self.desk.ledger.left(self.entry.label, "stopped", self.desk.now())
            return f"box {id} is stopped; its disk costs until {line}"
        self.desk.report(f"box {id} is {lost}")
        if lost == "gone" or self._is_pulled:
            renting.end(self.desk, self.entry)
        else:
            self.desk.ledger.left(self.entry.label, "stopped", self.desk.now())
            self.desk.report(f"its disk may hold clips and costs on; to end it: {line}")
        if not self.replaces:
            return f"box {id} is {lost}, and no other was rented"
        while not self._is_over():
            try:
                self._next()
            except StillRented:
                raise
            except KitError as error:
                self._say(f"{error.problem}; asked again")
                self.desk.sleep(self._until_next_look(NO_OFFER_SECONDS))
            else:
                return ""
        return f"box {id} is {lost}, and no other was found before its hours were over"

    def _next(self) -> None:
        wish = self.wish
        if self.entry.deadline is not None:
            hours = (self.entry.deadline - self.desk.now()) / 3600
            wish = wish.model_copy(update={"hours": max(hours, 0.01)})
        first = renting.candidates(self.desk, wish, self.manifest)[0]
        deadline = self.entry.deadline
        entry = renting.rent(self.desk, wish, self.manifest, first, hf_token=self.hf_token, tries=self.tries)
        self.entry = self.desk.ledger.change(entry.label, deadline=deadline)
        self._bad_looks = 0
        self.told(self.entry)

    def _say(self, text: str) -> None:
        """A thing that stays wrong is said once."""
        if text != self._said:
            self.desk.report(text)
        self._said = text
