"""A fetch may be ended at any moment; the next one goes on."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap import fetch
from bootstrap.fetch import digest, journal, store
from tests.bootstrap.fetch.conftest import BIG, FILES, MIB, Model, manifest_of, noise
from tests.hub import Seen

CONNECTIONS = 4
KILLS = 10


def test_killed_at_ten_random_moments_it_goes_on_and_no_byte_is_wrong(model: Model) -> None:
    files = {"a.safetensors": noise(90 * MIB + 17, 3), "b.safetensors": noise(60 * MIB, 4), "c.json": b"{}"}
    repo = model.server.add("studio/killed", files)
    killed = replace(model, repo=repo, manifest=manifest_of(repo, components={"unet": "a.safetensors"}))
    killed.server.bytes_per_second = 20 * MIB
    dice = random.Random()
    kills, surplus, stores = 0, 0, 0
    while kills < KILLS:
        killed = replace(killed, store=model.store / str(stores))
        stores += 1
        while kills < KILLS:
            kept = written_pieces(killed)
            asked_before = len(killed.server.seen)
            process = start(killed)
            wait_for_bytes(killed, process, asked_before)
            time.sleep(dice.uniform(0, 0.6))
            ended = process.poll() is not None
            process.send_signal(signal.SIGKILL)
            process.wait()
            requests = killed.server.seen[asked_before:]
            surplus += bytes_asked_within(requests, kept)
            if ended:
                break
            kills += 1
            finals = list(killed.home.rglob("*.safetensors"))
            assert all(path.read_bytes() == files[path.name] for path in finals), (
                "a wrong file has its final name"
            )
    found = killed.fetch(connections=CONNECTIONS)
    assert {path: place.read_bytes() for path, place in found.items()} == files
    assert surplus == 0, "pieces in the journal are not asked for again: only what was in flight is"


def start(model: Model) -> subprocess.Popen[bytes]:
    manifest = model.store.parent / "manifest.json"
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text(model.manifest.model_dump_json())
    command = [sys.executable, "-m", "tests.bootstrap.fetch.one_fetch", str(manifest), str(model.store)]
    env = {**os.environ, "HF_HUB_CACHE": str(model.store.parent / "none")}
    return subprocess.Popen([*command, model.server.endpoint, str(CONNECTIONS)], env=env)


def wait_for_bytes(model: Model, process: subprocess.Popen[bytes], before: int) -> None:
    while process.poll() is None:
        if any(seen.sent for seen in model.server.seen[before:] if seen.path.endswith("safetensors")):
            return
        time.sleep(0.01)


def written_pieces(model: Model) -> dict[str, set[int]]:
    """What the journals of the killed process say; a line that was cut off does not count."""
    kept = {}
    for path in model.home.rglob("*.journal"):
        lines = path.read_text().split("\n")[1:-1]
        name = path.name.removesuffix(".part.journal")
        kept[name] = {int(line.split()[1]) for line in lines if line.startswith("w ")}
    return kept


def bytes_asked_within(requests: list[Seen], kept: dict[str, set[int]]) -> int:
    count = 0
    for seen in requests:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", seen.headers.get("range", ""))
        if asked and seen.path in kept:
            pieces = range(int(asked[1]) // digest.PIECE_BYTES, int(asked[2]) // digest.PIECE_BYTES + 1)
            count += sum(piece in kept[seen.path] for piece in pieces)
    return count


def test_a_journal_that_was_cut_off_is_read_up_to_there(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(bytes(100))
    written = journal.Journal(part, size=100, expected="e")
    written.begin(journal.Claims())
    written.written(0)
    written.close()
    with written.path.open("a") as file:
        file.write("w 1")
    assert journal.Journal(part, size=100, expected="e").read().written == {0}


def test_the_journal_of_another_content_is_not_used(tmp_path: Path) -> None:
    part = tmp_path / "x.part"
    part.write_bytes(bytes(100))
    journal.Journal(part, size=100, expected="old").begin(journal.Claims(written={0}))
    assert journal.Journal(part, size=100, expected="new").read().written == set()
    part.write_bytes(b"")
    assert journal.Journal(part, size=100, expected="old").read().written == set()


def test_after_a_power_loss_what_the_journal_claims_is_hashed_again(model: Model) -> None:
    """The disk may have lost pages that the journal speaks of: another boot id, and a page of zeros."""
    stopped_midway(model)
    path = next(model.home.rglob("*.journal"))
    path.write_text(path.read_text().replace(store.boot_id(), "another-boot"))
    part = next(model.home.rglob("*.part"))
    with part.open("r+b") as file:
        file.seek(1 * MIB)
        file.write(bytes(4096))
    assert model.is_right(model.fetch())
    assert model.server.bytes_sent(BIG) < 2.2 * len(FILES[BIG])


def test_what_was_hashed_before_a_kill_is_not_hashed_again(model: Model) -> None:
    if digest.library() is None:
        return
    stopped_midway(model)
    text = next(model.home.rglob("*.journal")).read_text()
    assert re.search(r"^s 0 [0-9a-f]{64}$", text, re.M)
    assert model.is_right(model.fetch())
    assert model.server.bytes_sent(BIG) < 1.3 * len(FILES[BIG])


def stopped_midway(model: Model) -> None:
    """Ended by Ctrl-C when the first piece is there and hashed."""
    model.server.bytes_per_second = 12 * MIB

    def report(_: object) -> None:
        if any("\ns 0" in path.read_text() for path in model.home.rglob("*.journal")):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch.fetch(
            model.manifest,
            store=model.store,
            token=None,
            endpoint=model.server.endpoint,
            connections=2,  # what lies in their buffers at the end is sent again
            report=report,
        )
    model.server.bytes_per_second = None
    assert list(model.home.rglob("*.part"))
