"""What a fetch promises when nothing goes wrong."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.choose.manifest import Source
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import choose
from bootstrap.detect.machine import GIB, Machine
from bootstrap.errors import KitError
from bootstrap.fetch import digest
from tests import hub
from tests.bootstrap.fetch.conftest import BIG, FILES, MIB, Model, manifest_of


def test_every_file_arrives_whole_under_its_name(model: Model) -> None:
    found = model.fetch()
    assert model.is_right(found)
    assert not list(model.home.rglob("*.part*"))
    assert model.missing_bytes == 0


def test_components_are_files_or_folders_of_the_model(model: Model) -> None:
    found = model.fetch()
    machine = Machine(gpus=(), ram_limit_bytes=GIB, ram_available_bytes=GIB)
    choice = choose(model.manifest, machine)
    plan = Plan.build(model.manifest, choice, files=model.home, data_dir=model.store, threads=1)
    assert plan.components["unet"] == found[BIG] and found[BIG].read_bytes() == FILES[BIG]
    assert (plan.components["pipeline"] / "model.safetensors").is_file()


def test_a_target_is_where_the_file_is_kept(model: Model) -> None:
    moved = model.only("vae/model.safetensors").with_files(target="elsewhere/vae.safetensors")
    moved.fetch()
    assert (model.home / "elsewhere/vae.safetensors").read_bytes() == FILES["vae/model.safetensors"]


def test_a_file_is_fetched_over_several_connections_at_once(model: Model) -> None:
    model.server.bytes_per_second = 20 * MIB
    model.only(BIG).fetch()
    ranges = [seen for seen in model.server.seen if seen.method == "GET"]
    overlapping = [seen for seen in ranges if seen.at - ranges[0].at < 0.5]
    assert len(overlapping) >= 3
    assert all("range" in seen.headers for seen in ranges)


def test_no_byte_is_fetched_twice(model: Model) -> None:
    model.server.bytes_per_second = 30 * MIB  # so that the tail is shared among connections
    model.fetch(connections=6)
    # A shared tail closes connections that had asked for more: their last blocks are the only surplus.
    assert model.server.bytes_sent() < 1.15 * sum(map(len, FILES.values()))


def test_verified_files_are_neither_asked_for_nor_read_again(model: Model) -> None:
    found = model.fetch()
    before = len(model.server.seen)
    os.utime(found[BIG], ns=(1, found[BIG].stat().st_mtime_ns))  # a new time of access is no change
    model.fetch()
    assert len(model.server.seen) == before


def test_a_touched_file_is_hashed_again_but_not_fetched(model: Model) -> None:
    found = model.fetch()
    before = len(model.server.seen)
    os.utime(found[BIG])
    assert model.missing_bytes == len(FILES[BIG])
    model.fetch()
    assert len(model.server.seen) == before and model.missing_bytes == 0


def test_verify_finds_a_byte_that_changed_unseen_and_fetches_that_piece_alone(model: Model) -> None:
    found = model.fetch()
    seen = found[BIG].stat()
    with found[BIG].open("r+b") as file:
        file.seek(20 * MIB)
        file.write(b"?")
    os.utime(found[BIG], ns=(seen.st_atime_ns, seen.st_mtime_ns))
    sent = model.server.bytes_sent()
    model.fetch()
    assert model.server.bytes_sent() == sent, "the stamp is the same: nothing is read"
    assert model.is_right(model.fetch(verify=True))
    if digest.library():
        assert model.server.bytes_sent() - sent == digest.PIECE_BYTES


def test_the_lock_holds_the_hash_of_each_piece(model: Model) -> None:
    model.fetch()
    lock = json.loads((model.home / "lock.json").read_text())["files"]
    assert lock[BIG]["sha256"] == model.repo.sha256(BIG)
    assert lock["model_index.json"]["git_oid"] == model.repo.git_oid("model_index.json")
    assert len(lock[BIG]["pieces"]) == (2 if digest.library() else 0)


def test_where_the_manifest_knows_no_hash_the_hubs_is_used_and_locked(model: Model) -> None:
    blind = model.with_files(sha256=None, git_oid=None)
    assert model.is_right(blind.fetch())
    lock = json.loads((model.home / "lock.json").read_text())["files"]
    assert {entry["basis"] for entry in lock.values()} == {"hub"}
    assert lock[BIG]["sha256"] == model.repo.sha256(BIG)


def test_where_nobody_knows_a_hash_it_is_said_so(model: Model) -> None:
    source = Source.model_construct(url=f"{model.server.storage}/plain/{model.repo.name}")
    blind = model.with_files(sha256=None, git_oid=None)
    blind.manifest = blind.manifest.model_copy(update={"source": source})
    assert model.is_right(blind.fetch())
    assert "only the size was checked" in (model.reports[-1].note or "")


def test_a_manifest_that_names_another_file_is_told_before_a_byte_comes(model: Model) -> None:
    wrong = model.only(BIG).with_files(sha256="0" * 64)
    with pytest.raises(KitError, match="is another file"):
        wrong.fetch()
    longer = model.only(BIG).with_files(bytes=5)
    with pytest.raises(KitError, match="the manifest says 5"):
        longer.fetch()
    assert model.server.bytes_sent() == 0


def test_empty_files_and_exact_pieces_arrive(model: Model) -> None:
    files = {"empty.txt": b"", "two.bin": b"ab" * (16 * MIB)}
    repo = model.server.add("studio/edges", files)
    edges = replace(model, repo=repo, manifest=manifest_of(repo))
    found = edges.fetch()
    assert {path: place.read_bytes() for path, place in found.items()} == files
    assert edges.missing_bytes == 0
    found["two.bin"].unlink()
    assert edges.fetch()["two.bin"].read_bytes() == files["two.bin"]  # now with the states from the lock


def test_progress_counts_up_to_the_whole_and_names_each_file(model: Model) -> None:
    model.server.bytes_per_second = 10 * MIB
    model.fetch()
    counts = [progress.bytes_done for progress in model.reports]
    assert counts == sorted(counts) and counts[-1] == sum(map(len, FILES.values()))
    assert {file.state for file in model.reports[-1].files} == {"done"}
    assert any(file.state == "running" for progress in model.reports for file in progress.files)
    assert any(p.bytes_per_second and p.eta_seconds is not None for p in model.reports)
    assert model.reports[-1].eta_seconds == 0.0


def test_a_folder_source_is_verified_where_it_lies(model: Model, tmp_path: Path) -> None:
    folder = tmp_path / "made"
    for path, data in FILES.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    local = replace(model, manifest=manifest_of(model.repo, source={"folder": str(folder)}))
    found = local.fetch()
    assert model.is_right(found) and found[BIG].resolve() == folder / BIG
    assert local.missing_bytes == 0 and not model.server.seen
    with (folder / BIG).open("r+b") as file:
        file.write(b"?")
    with pytest.raises(KitError, match="is damaged"):
        local.fetch()


def test_the_hub_cache_of_the_box_is_used_instead_of_the_network(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    for path in FILES:
        hf_hub_download(
            model.repo.name,
            path,
            revision=model.repo.revision,
            endpoint=model.server.endpoint,
            cache_dir=tmp_path / "hub",
        )
    before = model.server.bytes_sent()
    assert model.is_right(model.fetch())
    assert model.server.bytes_sent() == before
    assert model.missing_bytes == 0


def test_a_damaged_file_in_the_hub_cache_is_not_used(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants, hf_hub_download

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    cached = hf_hub_download(
        model.repo.name,
        BIG,
        revision=model.repo.revision,
        endpoint=model.server.endpoint,
        cache_dir=tmp_path / "hub",
    )
    with Path(cached).open("r+b") as file:
        file.write(b"?")
    assert model.is_right(model.fetch())


def test_a_second_fetcher_waits_for_the_first_and_fetches_nothing(model: Model) -> None:
    model.server.bytes_per_second = 8 * MIB
    first = threading.Thread(target=model.fetch)
    first.start()
    while not list(model.home.rglob("*.part")):
        time.sleep(0.02)
    second = replace(model, reports=[])
    assert model.is_right(second.fetch())
    first.join()
    assert any("another kinokit" in (progress.note or "") for progress in second.reports)
    assert model.server.bytes_sent() < 1.2 * sum(map(len, FILES.values()))


def test_mirrors_are_used_without_the_token(model: Model) -> None:
    with hub.serve() as mirror:
        mirror.add(model.repo.name, FILES, revision=model.repo.revision)
        model.server.allow("hf_secret")
        model.server.bytes_per_second = 4 * MIB
        assert model.is_right(model.fetch(token="hf_secret", mirrors=(mirror.endpoint,)))
        assert mirror.bytes_sent() > model.server.bytes_sent(), "the faster one wins"
        assert not any("authorization" in seen.headers for seen in mirror.seen)


def test_a_dead_hub_is_replaced_by_its_mirror(model: Model) -> None:
    with hub.serve() as mirror:
        mirror.add(model.repo.name, FILES, revision=model.repo.revision)
        assert model.is_right(model.fetch(endpoint="http://127.0.0.1:9", mirrors=(mirror.endpoint,)))


def test_bytes_that_a_mirror_damages_come_from_the_hub_instead(model: Model) -> None:
    with hub.serve() as mirror:
        mirror.add(model.repo.name, FILES, revision=model.repo.revision)
        mirror.fault("flip", BIG, at=5 * MIB, times=None)
        model.server.bytes_per_second = 8 * MIB
        assert model.is_right(model.fetch(mirrors=(mirror.endpoint,)))


def test_a_mirror_that_lies_is_found_out(model: Model) -> None:
    with hub.serve() as mirror:
        lies = {path: data[:-1] + b"!" for path, data in FILES.items()}
        mirror.add(model.repo.name, lies, revision=model.repo.revision)
        assert model.is_right(model.fetch(mirrors=(mirror.endpoint,)))


@pytest.mark.parametrize("downloader", ["hf-transfer", "hf-hub"])
def test_other_downloaders_are_verified_the_same_way(model: Model, downloader: str) -> None:
    assert model.is_right(model.fetch(downloader=downloader))
    assert model.missing_bytes == 0


def test_what_another_downloader_damaged_never_gets_its_final_name(model: Model) -> None:
    model.server.fault("flip", BIG, at=1000, times=None)
    with pytest.raises(KitError, match="is damaged"):
        model.fetch(downloader="hf-transfer")
    assert not (model.home / BIG).exists()


def test_another_downloader_that_hangs_is_ended_and_begun_anew(model: Model) -> None:
    model.server.fault("stall", BIG, at=1000, times=1)
    assert model.is_right(model.fetch(downloader="hf-transfer"))


def test_an_unknown_downloader_is_a_clear_error(model: Model) -> None:
    with pytest.raises(KitError, match="no downloader is called 'wget'"):
        model.fetch(downloader="wget")


def test_secrets_are_in_no_message(model: Model) -> None:
    model.server.allow("hf_secret")
    model.server.fault("status", BIG, status=500, times=None)
    with pytest.raises(KitError) as failed:
        model.fetch(token="hf_secret")
    texts = str(failed.value) + "".join(progress.note or "" for progress in model.reports)
    assert not re.search(r"hf_secret|Signature|X-Amz", texts)


def test_each_file_is_told_as_soon_as_it_is_verified_and_no_other(model: Model) -> None:
    told: dict[Path, bytes] = {}

    def arrived(place: Path) -> None:
        told[place] = place.read_bytes()

    model.server.fault("flip", BIG, at=18 * MIB, times=None)
    with pytest.raises(KitError, match="is damaged"):
        model.fetch(arrived=arrived)
    assert model.home / BIG not in told
    model.server.faults.clear()
    found = model.fetch(arrived=arrived)
    assert told == {place: FILES[path] for path, place in found.items()}
    told.clear()
    model.fetch(arrived=arrived)
    assert set(told) == set(found.values()), "what was verified at an earlier start is told too"


def test_a_file_in_the_hubs_chunk_store_comes_over_plain_http_and_is_verified(model: Model) -> None:
    """The bridge's answers have no ETag: the digest from the hub's own answer, or the manifest, decides."""
    model.server.repos[model.repo.name] = replace(model.repo, xet=True, etags=False)
    assert model.is_right(model.with_files(sha256=None).fetch())
    assert not any("xet-read-token" in seen.path for seen in model.server.seen)
    assert {seen.host for seen in model.server.seen if seen.path == BIG and seen.method == "GET"} == {
        "storage"
    }
