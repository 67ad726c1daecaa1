"""The same content of another revision, or of another model, lies once and is not downloaded again."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bootstrap.fetch import twins
from tests.bootstrap.fetch.conftest import BIG, FILES, MIB, Model, manifest_of, noise

NEXT = "b" * 40
CHANGED = "model_index.json"


def revision(model: Model, files: dict[str, bytes] | None = None, name: str = "studio/small") -> Model:
    """The same repository later: all of it is as before, but for these files."""
    repo = model.server.add(name, {**FILES, **(files or {})}, revision=NEXT)
    return replace(model, repo=repo, manifest=manifest_of(repo))


def sent_for(model: Model, wanted: Model) -> int:
    before = model.server.bytes_sent()
    found = wanted.fetch()
    assert {path: place.read_bytes() for path, place in found.items()} == wanted.repo.files
    return model.server.bytes_sent() - before


def test_another_revision_downloads_what_has_changed_and_no_more(model: Model) -> None:
    model.fetch()
    later = revision(model, {CHANGED: b'{"_class_name": "Another"}\n'})
    assert later.missing_bytes == len(later.repo.files[CHANGED])
    assert 0 < sent_for(model, later) < 1000
    for path in FILES:
        assert (model.home / path).samefile(later.home / path) is (path != CHANGED)
    assert later.missing_bytes == model.missing_bytes == 0


def test_another_model_finds_the_files_that_both_have_under_other_names(model: Model) -> None:
    model.fetch()
    files = {"image_encoder/weights.bin": FILES["vae/model.safetensors"], "unet.bin": noise(MIB, 9)}
    repo = model.server.add("other/model", files)
    other = replace(model, repo=repo, manifest=manifest_of(repo, components={"unet": "unet.bin"}))
    assert sent_for(model, other) < 1.2 * MIB


def test_a_file_without_a_digest_has_no_twin(model: Model) -> None:
    model.fetch()
    later = revision(model).with_files(sha256=None, git_oid=None)
    assert later.missing_bytes == sum(map(len, FILES.values()))
    assert sent_for(model, later) >= later.missing_bytes
    assert not (model.home / BIG).samefile(later.home / BIG)


def again(model: Model) -> Model:
    """Published once more: the hub of the tests has one revision at a time."""
    model.server.add(model.repo.name, model.repo.files, revision=model.repo.revision)
    return model


def damage(path: Path) -> None:
    """A flipped byte that no date and no length shows."""
    seen = path.stat()
    with path.open("r+b") as file:
        file.seek(20 * MIB)
        byte = file.read(1)[0]
        file.seek(20 * MIB)
        file.write(bytes([byte ^ 1]))
    os.utime(path, ns=(seen.st_atime_ns, seen.st_mtime_ns))


def test_damage_does_not_spread_to_a_twin(model: Model) -> None:
    model.fetch()
    damage(model.home / BIG)
    later = revision(model)
    assert sent_for(model, later) >= len(FILES[BIG])
    assert not (model.home / BIG).samefile(later.home / BIG)
    assert model.is_right(again(model).fetch(verify=True))  # found as before, and mended


def test_what_one_revision_mends_or_replaces_leaves_the_others_as_they_are(model: Model) -> None:
    model.fetch()
    later = revision(model)
    sent_for(model, later)
    damage(model.home / BIG)  # of both: they are one
    before = model.server.bytes_sent()
    assert model.is_right(again(model).fetch(verify=True))
    assert model.server.bytes_sent() - before < 17 * MIB  # one piece of a copy
    assert later.is_right(again(later).fetch(verify=True))
    # The name of a revision moves to another content of the same length.
    moved = {**FILES, BIG: noise(len(FILES[BIG]), 77)}
    repo = model.server.add("studio/small", moved, revision=model.repo.revision)
    replaced = replace(model, repo=repo, manifest=manifest_of(repo))
    assert {path: place.read_bytes() for path, place in replaced.fetch().items()} == moved
    assert later.is_right(again(later).fetch(verify=True))


def refuse(*_: object) -> None:
    raise OSError(errno.EPERM, "this file system has no such thing")


@pytest.mark.parametrize(
    ("can", "lies_once"),
    [("hard links", True), ("symbolic links", True), ("nothing of it", False)],
)
def test_it_works_on_volumes_that_can_less(
    model: Model, monkeypatch: pytest.MonkeyPatch, can: str, lies_once: bool
) -> None:
    if can != "hard links":
        monkeypatch.setattr(os, "link", refuse)
    if can == "nothing of it":
        monkeypatch.setattr(os, "symlink", refuse)
    model.fetch()
    later = revision(model)
    assert sent_for(model, later) == 0
    assert (model.home / BIG).samefile(later.home / BIG) is lies_once
    assert (later.home / BIG).is_symlink() is (can == "symbolic links")
    moved = model.store.with_name("mounted-elsewhere")
    model.store.rename(moved)
    for each in (model, later):
        there = replace(each, store=moved)
        assert there.missing_bytes == 0
        assert there.is_right(there.fetch())


def test_a_twin_that_is_deleted_meanwhile_is_downloaded(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    model.fetch()
    share: Callable[[Path, Path], None] = twins.share

    def too_late(original: Path, final: Path) -> None:
        shutil.rmtree(model.home, ignore_errors=True)
        share(original, final)

    monkeypatch.setattr(twins, "share", too_late)
    assert sent_for(model, revision(model)) > len(FILES[BIG])
