"""``kinokit models prune`` and ``remove`` as they are typed: a list first, and nothing of what runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bootstrap import data_directory, fetch, volume
from bootstrap.choose import reading
from bootstrap.cli import app
from bootstrap.errors import KitError

HOLD = """
import sys, time
from pathlib import Path
from bootstrap import data_directory
lock = data_directory.occupy(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


@pytest.fixture(autouse=True)
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A volume with the demo, an old revision of SVD, and a folder of nobody."""
    for name in list(os.environ):
        if name.startswith(("KINOKIT_", "HF_", "RUNPOD_", "VAST_")) or name in ("MODEL", "PLATFORM"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KINOKIT_DATA_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "models"
    demo = reading.load("demo")
    fetch.fetch(demo, store=store, token=None, endpoint="http://127.0.0.1:9", report=lambda _: None)
    for home in (old_svd(tmp_path), store / "some--model/main"):
        home.mkdir(parents=True)
        (home / "weights.bin").write_bytes(bytes(4000))
    return tmp_path


def old_svd(top: Path) -> Path:
    return fetch.home(reading.load("svd"), store=top / "models").with_name("a" * 40)


def run(*arguments: str) -> Result:
    result = CliRunner().invoke(app, ["models", *arguments])
    if isinstance(result.exception, KitError):
        raise result.exception
    return result


def found(*arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return document


def test_prune_shows_sizes_and_deletes_only_when_told(top: Path) -> None:
    shown = run("prune").stdout
    assert "add --yes" in shown
    assert f"{'a' * 40}: another revision" in shown
    assert old_svd(top).exists()
    document = found("prune", "--yes")
    assert (document["deleted"], document["freed_bytes"]) == (True, 8000)
    assert {each["why"] for each in document["found"]} == {
        "another revision",
        "no manifest that is known here names it",
    }
    assert not old_svd(top).parent.exists()
    assert found("prune")["found"] == []
    demo = reading.load("demo")
    assert fetch.missing_bytes(demo, store=top / "models") == 0


def test_the_files_of_a_manifest_of_ones_own_stay_when_it_is_named_or_came_to_a_box(top: Path) -> None:
    text = (reading.shipped()["wan22"]).read_text()
    home = fetch.home(reading.load("wan22"), store=top / "models")
    revision = home.name
    mine = top / "mine.yaml"
    mine.write_text(text.replace("name: wan22", "name: mine", 1).replace(revision, "d" * 40))
    own = fetch.home(reading.load(str(mine)), store=top / "models")
    (own / "split").mkdir(parents=True)
    kept = own / reading.load(str(mine)).files[0].kept_at
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(bytes(10))
    assert str(own) in {each["path"] for each in found("prune")["found"]}
    assert str(own) not in {each["path"] for each in found("prune", "--keep", str(mine))["found"]}
    parcels = volume.of_box(top, "w3xyz") / "manifests"
    parcels.mkdir(parents=True)
    mine.rename(parcels / "mine-12345678.yaml")
    assert str(own) not in {each["path"] for each in found("prune")["found"]}


def test_what_a_box_runs_with_stays_wherever_it_has_mounted_the_volume(top: Path) -> None:
    """The plan is of a serverless worker, which has the volume at another place than a pod."""
    box = volume.of_box(top, "w3xyz")
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(box)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    holder.stdout.readline()
    try:
        with pytest.raises(KitError, match="not decided yet"):
            run("prune")
        place = f"/runpod-volume/models/{old_svd(top).parent.name}/{'a' * 40}/weights.bin"
        (box / data_directory.DRAFT).write_text(json.dumps({"components": {"unet": place}, "config": None}))
        assert [each["path"] for each in found("prune", "--yes")["found"]] == [
            str(top / "models/some--model/main")
        ]
        assert old_svd(top).exists()
    finally:
        holder.kill()
        holder.communicate(timeout=60)
    assert [each["path"] for each in found("prune")["found"]] == [str(old_svd(top))]


def test_a_box_on_another_machine_counts_by_its_sign_of_life(top: Path) -> None:
    box = volume.of_box(top, "elsewhere")
    box.mkdir(parents=True)
    (box / data_directory.PLAN).write_text(json.dumps({"components": {"all": str(old_svd(top))}}))
    volume.beat(box, short_lived=False)
    assert str(old_svd(top)) not in {each["path"] for each in found("prune")["found"]}
    long_ago = (box / volume.ALIVE).stat().st_mtime - volume.SILENT_SECONDS - 60
    os.utime(box / volume.ALIVE, (long_ago, long_ago))
    assert str(old_svd(top)) in {each["path"] for each in found("prune")["found"]}


def test_a_model_is_removed_by_its_name_and_not_while_it_runs(top: Path) -> None:
    demo = reading.load("demo")
    home = fetch.home(demo, store=top / "models")
    assert "add --yes" in run("remove", "demo").stdout
    volume.beat(top, short_lived=False)
    (top / data_directory.PLAN).write_text(json.dumps({"components": {"pipeline": str(home)}}))
    with pytest.raises(KitError, match="is used by the kit that runs"):
        run("remove", "demo", "--yes")
    (top / volume.ALIVE).unlink()
    run("remove", "demo", "--yes")
    assert not home.exists()
    assert found("remove", "demo")["found"] == []
    with pytest.raises(KitError, match="no model 'moon'"):
        run("remove", "moon")
