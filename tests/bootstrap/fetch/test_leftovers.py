"""What no manifest needs is found with its size and deleted; what others share with it stays whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.choose.manifest import Manifest
from bootstrap.fetch import lease, leftovers
from bootstrap.fetch.leftovers import Leftover
from tests.bootstrap.fetch.conftest import BIG, FILES, Model, manifest_of
from tests.bootstrap.fetch.test_twins import refuse

CHANGED = "model_index.json"


@pytest.fixture
def later(model: Model) -> Model:
    """Two revisions, both there: all but one small file are the same."""
    model.fetch()
    files = {**FILES, CHANGED: b'{"_class_name": "Another"}\n'}
    repo = model.server.add("studio/small", files, revision="b" * 40)
    made = replace(model, repo=repo, manifest=manifest_of(repo))
    made.fetch()
    return made


def unneeded(model: Model, known: Sequence[Manifest], used: Sequence[Path] = ()) -> list[Leftover]:
    return leftovers.unneeded(model.store, known, used)


def test_an_old_revision_frees_what_the_new_one_does_not_share(model: Model, later: Model) -> None:
    found = unneeded(model, [later.manifest])
    assert [(each.path, each.why) for each in found] == [(model.home, "another revision")]
    assert len(FILES[CHANGED]) <= found[0].freed_bytes < 100_000  # and its lock.json
    both = unneeded(model, [])
    assert sum(each.freed_bytes for each in both) > sum(map(len, FILES.values()))  # once, not twice
    leftovers.delete(model.store, found)
    assert not model.home.exists()
    assert later.missing_bytes == 0
    assert {path: (later.home / path).read_bytes() for path in FILES} == later.repo.files
    assert unneeded(model, [later.manifest]) == []


def test_the_heirs_of_symbolic_links_keep_their_files(
    model: Model, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    monkeypatch.setattr(os, "link", refuse)
    later: Model = request.getfixturevalue("later")
    third = replace(later, repo=later.server.add("studio/small", FILES, revision="c" * 40))
    third = replace(third, manifest=manifest_of(third.repo))
    third.fetch()
    assert (later.home / BIG).is_symlink()
    leftovers.delete(model.store, unneeded(model, [later.manifest, third.manifest]))
    assert not model.home.exists()
    for each in (later, third):
        assert each.missing_bytes == 0  # none has to be read again
        assert {path: (each.home / path).read_bytes() for path in FILES} == each.repo.files


def test_unfinished_downloads_and_unnamed_files_are_found_in_a_folder_that_stays(model: Model) -> None:
    model.fetch()
    (model.home / "old.bin").write_bytes(bytes(5000))
    (model.home / f"{BIG}.part").write_bytes(bytes(10_000))
    (model.home / f"{BIG}.part.journal").write_text("w 0\n")
    found = {each.path.name: each.why for each in unneeded(model, [model.manifest])}
    assert found == {
        "old.bin": "no manifest that is known here names it",
        "model.safetensors.part": "an unfinished download",
        "model.safetensors.part.journal": "an unfinished download",
    }
    leftovers.delete(model.store, unneeded(model, [model.manifest]))
    assert model.is_right(model.fetch())
    assert unneeded(model, [model.manifest]) == []


def test_what_a_box_reads_or_fetches_is_left_alone(model: Model, later: Model) -> None:
    assert unneeded(model, [later.manifest], [model.home]) == []
    with lease.only_fetcher(model.home, lambda _: None):
        assert unneeded(model, [later.manifest]) == []
    assert len(unneeded(model, [later.manifest])) == 1


def test_a_removed_model_leaves_what_another_of_the_same_folder_needs(model: Model) -> None:
    model.fetch()
    other = model.only(BIG).manifest
    found = leftovers.of_model(model.store, model.manifest, [other])
    assert {each.path.name for each in found} == {"model.safetensors", "model_index.json"}
    assert model.home / BIG not in {each.path for each in found}
    leftovers.delete(model.store, found)
    assert model.only(BIG).missing_bytes == 0
    leftovers.delete(model.store, leftovers.of_model(model.store, model.manifest, []))
    assert list(model.store.iterdir()) == []
