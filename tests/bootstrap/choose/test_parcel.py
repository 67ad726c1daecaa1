"""A manifest of one's own reaches a rented box whole, or is refused with what to do."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest
import yaml

from bootstrap import settings
from bootstrap.choose import manifest, parcel, reading
from bootstrap.choose.parcel import Parcel
from bootstrap.errors import KitError

SHIPPED = manifest.MANIFEST_FOLDER / "wan22.yaml"


def own(folder: Path, **changes: object) -> Path:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(SHIPPED.read_text()) | {"name": "mine"} | changes))
    return path


def packed(path: Path) -> Parcel:
    return parcel.pack(str(path), reading.load(str(path)))


def test_what_the_box_loads_is_what_was_packed(tmp_path: Path) -> None:
    path = own(tmp_path, title="Mine: 我的 # \"quoted\" & 'signs'")
    sent = packed(path)
    assert sent.model == "mine"
    loaded = parcel.unpack(sent.model, sent.variables, tmp_path / "box")
    assert reading.load(loaded) == reading.load(str(path))


def test_a_variable_is_short_and_has_no_sign_that_marketplaces_mangle(tmp_path: Path) -> None:
    sent = packed(own(tmp_path))
    assert 3 < len(sent.variables) < 30
    for value in sent.variables.values():
        assert len(value) <= 240
        assert not set(value) - set(map(chr, range(33, 127))) | set(value) & set("&'\"`$\\")
    settings.load({}, sent.variables)


def test_a_shipped_model_goes_by_its_name(tmp_path: Path) -> None:
    assert parcel.pack("wan22", reading.load("wan22")) == Parcel("wan22")
    assert packed(SHIPPED) == Parcel("wan22")
    assert parcel.unpack("wan22", {}, tmp_path) == "wan22"
    assert not list(tmp_path.iterdir())


def test_an_address_goes_as_the_address() -> None:
    mine = reading.load("wan22")
    assert parcel.pack("https://example.org/mine.yaml", mine) == Parcel("https://example.org/mine.yaml")
    with pytest.raises(KitError, match="holds credentials") as error:
        parcel.pack("https://ada:s3cret@example.org/mine.yaml", mine)
    assert "s3cret" not in str(error.value)


def test_a_box_that_was_told_another_model_since_runs_that_one(tmp_path: Path) -> None:
    assert parcel.unpack("svd", packed(own(tmp_path)).variables, tmp_path) == "svd"


@pytest.mark.parametrize("lost", ["KINOKIT_MANIFEST_1", "KINOKIT_MANIFEST_2"])
def test_a_parcel_that_is_not_whole_is_refused(tmp_path: Path, lost: str) -> None:
    sent = dict(packed(own(tmp_path)).variables)
    del sent[lost]
    with pytest.raises(KitError, match="is not whole"):
        parcel.unpack("mine", sent, tmp_path)


def test_a_manifest_that_names_files_of_this_machine_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KitError) as error:
        packed(own(tmp_path, source={"folder": "weights"}))
    assert "local folder" in error.value.problem
    assert "https" in error.value.fix


def test_a_family_beside_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "families").mkdir()
    (tmp_path / "families/wan.yaml").write_text((SHIPPED.parent / "families/wan.yaml").read_text())
    with pytest.raises(KitError, match="lies in"):
        packed(own(tmp_path))


def test_a_manifest_that_is_too_long_is_refused_with_the_way_out(tmp_path: Path) -> None:
    words = " ".join(secrets.token_hex(16) for _ in range(600))
    with pytest.raises(KitError) as error:
        packed(own(tmp_path, title=words))
    assert "https address" in error.value.fix
