"""Clips leave a rented box as they finish, and what would be lost is said before it is."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

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


@pytest.fixture
def box(world: World, state: Path, tmp_path: Path) -> Iterator[Front]:
    """A box that was rented from here: a real front with the token of its order."""
    code, said = kit.rent(world, "start", "--yes")
    assert code == 0, said
    data_dir = tmp_path / "box"
    data_dir.mkdir()
    (data_dir / "token").write_text(kit.ledger(state)[0]["token"])
    with running(Settings(data_dir, max_queued=200)) as front:
        front.plan(WAN)
        port = front.url.rsplit(":", 1)[1]
        world.rented["9001"]["ports"]["8000/tcp"][0]["HostPort"] = port
        yield front


def made(box: Front) -> str:
    box.people.post("/v1/videos", json={"prompt": "a cat"}).raise_for_status()
    return box.worker.make(MP4)


def test_clips_are_pulled_once(world: World, box: Front, state: Path, tmp_path: Path) -> None:
    ids = [made(box), made(box)]
    folder = tmp_path / "clips"
    code, said = kit.rent(world, "pull", "9001", "--to", str(folder))
    assert code == 0, said
    assert "2 clips pulled" in said
    assert sorted(path.read_bytes() for path in folder.glob("*.mp4")) == [MP4, MP4]
    assert set(kit.ledger(state)[0]["pulled"]) == set(ids)
    for path in folder.iterdir():
        path.unlink()
    assert "0 clips pulled" in kit.rent(world, "pull", "9001", "--to", str(folder))[1]
    found = kit.document(world, "pull", "9001", "--to", str(folder), "--again")
    assert len(found["pulled"]) == 2


def test_following_takes_each_clip_when_it_is_finished(
    world: World, box: Front, state: Path, tmp_path: Path
) -> None:
    made(box)
    folder = tmp_path / "clips"
    with kit.started(world, "pull", "9001", "--follow", "--to", str(folder)) as command:
        wait_for(lambda: len(kit.ledger(state)[0]["pulled"]) == 1)
        made(box)
        wait_for(lambda: len(kit.ledger(state)[0]["pulled"]) == 2)
        command.send_signal(signal.SIGINT)
        said, _ = command.communicate(timeout=60)
    assert command.returncode == 130
    assert "2 pulled; what arrived is kept" in said
    assert len(list(folder.glob("*.mp4"))) == 2


def test_an_end_asks_first_where_clips_would_be_lost(world: World, box: Front) -> None:
    made(box)
    box.people.post("/v1/videos", json={"prompt": "later"}).raise_for_status()
    code, said = kit.rent(world, "stop", "9001", answer="n\n")
    assert code == 1
    assert "1 finished clip not pulled, and 1 still to be made; they are deleted with it" in said
    assert "kinokit rent pull 9001 --platform vast" in said
    assert world.rented


def test_an_end_says_that_all_are_here(world: World, box: Front, tmp_path: Path) -> None:
    made(box)
    kit.rent(world, "pull", "9001", "--to", str(tmp_path / "clips"))
    code, said = kit.rent(world, "stop", "9001", answer="y\n")
    assert code == 0, said
    assert "Its finished clips, 1 in all, are on this machine" in said
    assert "is ended: 0." in said
    assert world.rented == {}


def test_a_box_of_another_machine_is_pulled_with_its_token(
    world: World, box: Front, state: Path, tmp_path: Path
) -> None:
    made(box)
    token = kit.ledger(state)[0]["token"]
    (state / "rentals.json").unlink()
    code, said = kit.rent(world, "pull", "9001", "--to", str(tmp_path / "clips"))
    assert code == 1
    assert "another machine" in said
    arguments = ("pull", "9001", "--to", str(tmp_path / "clips"), "--token", token)
    assert "1 clip pulled" in kit.rent(world, *arguments)[1]
    assert "0 clips pulled" in kit.rent(world, *arguments)[1]


def test_the_bill_has_hours_dollars_and_dollars_a_clip(
    world: World, box: Front, state: Path, tmp_path: Path
) -> None:
    made(box)
    kit.rent(world, "pull", "9001", "--to", str(tmp_path / "clips"))
    kit.rent(world, "stop", "9001", "--yes")
    found = kit.document(world, "bill")
    (row,) = found["boxes"]
    assert (row["id"], row["clips_pulled"], row["state"]) == ("9001", 1, "ended")
    assert row["dollars_per_hour"] == 0.4
    assert found["dollars"] == pytest.approx(found["hours"] * 0.4, abs=0.001)
    assert found["dollars_per_clip"] == pytest.approx(found["dollars"], abs=0.001)
    assert "vast 9001" in kit.rent(world, "bill")[1]
    assert "no box ran" in kit.rent(world, "bill", "--hours", "0")[1]


def test_logs_and_ssh_of_own_boxes_alone(world: World, box: Front) -> None:
    assert kit.rent(world, "logs", "9001") == (0, "the log\n")
    code, said = kit.rent(world, "ssh", "9001")
    assert code == 0
    assert said.strip() == "ssh -p 31022 root@ssh4.vast.ai"
    assert kit.document(world, "ssh", "9001")["port"] == 31022
    for command in ("logs", "ssh", "pull"):
        code, said = kit.rent(world, command, "1")
        assert code == 1
        assert "no rental 1 of the kit" in said
