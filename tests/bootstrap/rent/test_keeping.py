"""A box that is kept: its clips are here before it is gone, its last hour holds, another follows it."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bootstrap.choose import reading
from bootstrap.commands.rent import account
from bootstrap.rent.keeping import Keeper
from bootstrap.rent.ledger import Entry
from bootstrap.rent.renting import Desk
from bootstrap.rent.signals import Signals
from bootstrap.rent.wish import Wish
from services.front.settings import Settings
from tests.bootstrap.rent import kit, marketplaces
from tests.bootstrap.rent.marketplaces import World
from tests.services.front.running import WAN, Front, running
from tests.support.waiting import wait_for

pytestmark = pytest.mark.apart
MP4 = b"a clip" * 1000


@pytest.fixture
def world() -> Iterator[World]:
    with marketplaces.serve() as running:
        yield running


@dataclass
class Night:
    """A night beside a box, in which time passes by sleeping alone."""

    world: World
    state: Path
    folder: Path
    passed: float = 0.0
    lines: list[str] = field(default_factory=list)
    at: dict[float, Callable[[], object]] = field(default_factory=dict)  # second -> what happens then

    def sleep(self, seconds: float) -> None:
        self.passed += seconds
        for second in [second for second in self.at if second <= self.passed]:
            self.at.pop(second)()

    def keeper(self, *, replaces: bool, folder: Path | None) -> Keeper:
        entry = Entry.model_validate(kit.ledger(self.state)[-1])
        desk = account.desk("vast", self.lines.append, Signals())
        desk = replace_times(desk, self, entry.ordered_at)
        desk.market.sleep = self.sleep
        wish = Wish.model_validate(entry.wish)
        return Keeper(desk, wish, reading.load(wish.model), entry, folder, replaces)


def replace_times(desk: Desk, night: Night, start: float) -> Desk:
    return replace(
        desk, now=lambda: start + night.passed, clock=lambda: night.passed, sleep=night.sleep
    )  # fmt: skip


@pytest.fixture
def night(world: World, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Night:
    for name, value in kit.env(world).items():
        monkeypatch.setenv(name, value)
    code, said = kit.rent(world, "start", "--yes", "--interruptible", "--hours", "0.2")
    assert code == 0, said
    return Night(world, state, tmp_path / "clips")


@pytest.fixture
def box(night: Night, tmp_path: Path) -> Iterator[Front]:
    """The rented box: a real front with the token of its order."""
    data_dir = tmp_path / "box"
    data_dir.mkdir()
    (data_dir / "token").write_text(kit.ledger(night.state)[0]["token"])
    with running(Settings(data_dir, max_queued=200)) as front:
        front.plan(WAN)
        port = front.url.rsplit(":", 1)[1]
        night.world.rented["9001"]["ports"]["8000/tcp"][0]["HostPort"] = port
        yield front


def made(box: Front) -> str:
    box.people.post("/v1/videos", json={"prompt": "a cat"}).raise_for_status()
    return box.worker.make(MP4)


def take_back(world: World) -> None:
    """A higher bid has it now."""
    world.rented["9001"]["actual_status"] = "exited"


def test_at_its_last_hour_the_clips_are_here_and_the_box_is_ended(night: Night, box: Front) -> None:
    night.at[700] = lambda: made(box)
    assert "its hours are over: 9001 is ended" in night.keeper(replaces=False, folder=night.folder).run()
    assert 710 <= night.passed <= 730
    assert len(list(night.folder.glob("*.mp4"))) == 1
    assert night.world.rented == {}
    assert kit.ledger(night.state)[0]["state"] == "ended"


def test_clips_that_could_not_be_pulled_keep_their_disk(night: Night) -> None:
    said = night.keeper(replaces=False, folder=None).run()
    assert "9001 is stopped with its clips" in said
    assert "kinokit rent stop 9001 --platform vast" in said
    assert night.world.rented["9001"]["actual_status"] == "exited"
    assert kit.ledger(night.state)[0]["state"] == "stopped"


def test_the_next_offer_follows_a_box_that_is_taken_back(night: Night, box: Front) -> None:
    made(box)
    night.at[100] = lambda: take_back(night.world)
    said = night.keeper(replaces=True, folder=night.folder).run()
    assert any("box 9001 is interrupted" in line for line in night.lines)
    assert len(list(night.folder.glob("*.mp4"))) == 1
    first, second = kit.ledger(night.state)
    assert (first["state"], second["id"]) == ("ended", "9002")
    assert second["deadline"] == first["deadline"]
    orders = [body for _, path, body in night.world.calls if "/asks/" in path]
    assert all("price" in body for body in orders)  # a bid, as the first was
    assert float(orders[1]["env"]["KINOKIT_STOP_AFTER_HOURS"]) < 0.2
    assert "9002" in said  # it was kept until its hour, too


def test_a_box_that_stopped_itself_is_not_followed(night: Night) -> None:
    night.world.rented["9001"] |= {"actual_status": "exited", "intended_status": "stopped"}
    said = night.keeper(replaces=True, folder=night.folder).run()
    assert "9001 is stopped" in said
    assert len([call for call in night.world.calls if "/asks/" in call[1]]) == 1


def test_a_marketplace_that_is_away_loses_no_box_and_rents_none(night: Night, box: Front) -> None:
    def away() -> None:
        night.world.down = True

    def back() -> None:
        night.world.down = False

    night.at |= {100.0: away, 200.0: lambda: made(box), 300.0: back}
    night.keeper(replaces=True, folder=night.folder).run()
    assert len(list(night.folder.glob("*.mp4"))) == 1
    assert len([call for call in night.world.calls if "/asks/" in call[1]]) == 1


def test_a_watch_that_is_ended_says_what_is_still_rented(night: Night, world: World) -> None:
    with kit.started(world, "watch", "9001", "--to", str(night.folder)) as command:
        assert command.stdout is not None
        wait_for(lambda: "watching box 9001" in str(command.stdout and command.stdout.readline()))
        command.send_signal(signal.SIGHUP)
        _, said = command.communicate(timeout=60)
    assert command.returncode == 129
    assert "STILL RENTED" in said
    assert world.rented
