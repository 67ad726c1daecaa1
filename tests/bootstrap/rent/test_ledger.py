"""The ledger and the black list: what this machine remembers of boxes, through crashes and side by side."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bootstrap.errors import KitError
from bootstrap.rent import state_file
from bootstrap.rent.blacklist import Blacklist
from bootstrap.rent.ledger import Entry, Ledger


def entry(label: str = "kinokit-wan22-abc123", **more: object) -> Entry:
    values = {
        "label": label,
        "platform": "vast",
        "model": "wan22",
        "dollars_per_hour": 0.5,
        "ordered_at": 1000.0,
    }
    return Entry.model_validate(values | more)


def test_a_box_stands_in_it_before_its_order_is_answered(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.add(entry(token="s3cret"))
    (found,) = Ledger(tmp_path).open()
    assert found.id is None
    assert found.state == "ordered"
    ledger.rented(found.label, "9001", 1060.0, url="http://a:1")
    assert ledger.known_ids("vast") == {"9001"}
    box = ledger.find("vast", "9001")
    assert box is not None
    assert box.link == "http://a:1/?token=s3cret"


def test_only_its_owner_reads_it(tmp_path: Path) -> None:
    Ledger(tmp_path / "new").add(entry(token="s3cret"))
    path = tmp_path / "new/rentals.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_hours_are_those_in_which_it_ran(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    label = ledger.add(entry()).label
    ledger.rented(label, "1", 1060.0)  # paid for from its order on
    ledger.left(label, "stopped", 1000 + 3600)
    assert ledger.get(label).hours(10**9) == pytest.approx(1)
    ledger.rented(label, "1", 100_000.0)  # resumed
    assert ledger.get(label).dollars(100_000 + 7200) == pytest.approx(0.5 * 3)
    ended = ledger.left(label, "ended", 100_000 + 3600)
    assert ended.hours(10**9) == pytest.approx(2)
    assert ledger.open() == []


def test_commands_side_by_side_lose_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: Ledger(tmp_path).add(entry(f"kinokit-demo-{number:06}")), range(40)))
    assert len(ledger.entries()) == 40


def test_a_damaged_file_is_put_aside_and_said(tmp_path: Path) -> None:
    (tmp_path / "rentals.json").write_text('[{"label": "kino')
    said: list[str] = []
    ledger = Ledger(tmp_path, said.append)
    assert ledger.entries() == []
    ledger.add(entry())
    assert len(ledger.entries()) == 1
    assert "damaged" in said[0]
    (aside,) = tmp_path.glob("rentals.json.damaged-*")
    assert aside.read_text() == '[{"label": "kino'


def test_what_another_version_wrote_stays(tmp_path: Path) -> None:
    (tmp_path / "rentals.json").write_text(json.dumps([{"strange": 1}, entry().model_dump() | {"new": 2}]))
    ledger = Ledger(tmp_path)
    ledger.rented("kinokit-wan22-abc123", "7", 2000.0)
    rows = json.loads((tmp_path / "rentals.json").read_text())
    assert rows[0] == {"strange": 1}
    assert rows[1]["new"] == 2
    assert rows[1]["id"] == "7"


def test_a_folder_that_cannot_be_written_is_said_before_money_is_spent(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KitError, match="cannot be used") as error:
        Ledger(tmp_path / "file").add(entry())
    assert "XDG_STATE_HOME" in error.value.fix


def test_a_kill_in_the_middle_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    Ledger(tmp_path).add(entry())
    endless = (
        "import sys; from pathlib import Path; from bootstrap.rent.ledger import Ledger\n"
        "ledger = Ledger(Path(sys.argv[1])); number = 0\n"
        "while True:\n"
        "    number += 1; ledger.pull('kinokit-wan22-abc123', f'video_{number}'); print(number, flush=True)\n"
    )
    for _ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", endless, str(tmp_path)], stdout=subprocess.PIPE
        ) as writer:
            assert writer.stdout is not None
            writer.stdout.readline()
            writer.kill()
        assert Ledger(tmp_path).get("kinokit-wan22-abc123").pulled


def test_the_state_folder_follows_xdg(tmp_path: Path) -> None:
    assert state_file.folder({"XDG_STATE_HOME": "/x", "HOME": "/h"}) == Path("/x/kinokit")
    assert state_file.folder({"XDG_STATE_HOME": "relative", "HOME": "/h"}) == Path("/h/.local/state/kinokit")
    assert state_file.folder({"HOME": "/h"}) == Path("/h/.local/state/kinokit")


def test_a_host_that_failed_is_left_alone_for_a_month(tmp_path: Path) -> None:
    listed = Blacklist(tmp_path)
    listed.add("vast", "41", "no answer within 15 minutes", 0.0)
    day = 86400
    assert listed.has("vast", "41", 29 * day)
    assert not listed.has("clore", "41", 29 * day)
    assert not listed.has("vast", None, 29 * day)
    assert not listed.has("vast", "41", 31 * day)


def test_a_host_is_forgiven_by_hand(tmp_path: Path) -> None:
    listed = Blacklist(tmp_path)
    for host in ("41", "42", "43"):
        listed.add("vast", host, "slow", 0.0)
    listed.add("vast", "41", "slow again", 50.0)
    assert [(each.host, each.reason) for each in listed.hosts(60)][-1] == ("41", "slow again")
    assert listed.clear("42") == 1
    assert [each.host for each in listed.hosts(60)] == ["43", "41"]
    assert listed.clear() == 2
    assert listed.hosts(60) == []
