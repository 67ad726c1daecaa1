"""``kinokit plan``, ``models``, ``config`` and ``manifest`` as typer runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bootstrap import __version__, fetch
from bootstrap.choose import prices, reading
from bootstrap.choose.refusal import NoFit
from bootstrap.cli import app
from bootstrap.errors import KitError

ROOT = Path(__file__).parents[3]
HOST = ("--ram", "64gib", "--disk", "100gib", "--cpus", "8")


@pytest.fixture(autouse=True)
def clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """No setting of the machine that runs the tests, and a data directory of our own."""
    for name in list(os.environ):
        if name.startswith(("KINOKIT_", "HF_", "RUNPOD_", "VAST_")) or name in ("MODEL", "PORT", "PLATFORM"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("KINOKIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "data").exists(), "looking must not write"


def run(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(app, arguments, env=env)


def planned(*arguments: str, **env: str) -> dict[str, Any]:
    result = run("plan", "--json", *arguments, **env)
    document: dict[str, Any] = json.loads(result.stdout)
    assert result.exit_code == (0 if document["fits"] else 2)
    return document


def test_a_card_that_fits() -> None:
    document = planned("--model", "svd-xt", "--gpu", "24gib:8.9", *HOST)
    assert document["fits"] is True
    assert document["workers"] == 1
    assert document["threads"] == 8
    assert document["gpu_groups"] == [["WHAT-IF-0"]]
    assert document["model"]["missing_bytes"] == reading.load("svd-xt").download_bytes
    assert document["machine"]["disk_free_bytes"] == 100 * 1024**3
    assert document["platform"]["data_dir"].endswith("data")
    assert document["refusal"] is None


def test_several_gpus_are_several_workers() -> None:
    document = planned("--model", "svd-xt", "--gpu", "24gib:8.9", "--gpu", "24gib:8.9", *HOST)
    assert document["gpu_groups"] == [["WHAT-IF-0"], ["WHAT-IF-1"]]
    assert document["threads"] == 4


def test_the_refusal_is_one_screen_with_everything_in_it() -> None:
    result = run(
        "plan", "--model", "wan22", "--gpu", "none", "--ram", "16gib", "--disk", "100gib", "--cpus", "2"
    )
    refusal = result.exception
    assert isinstance(refusal, NoFit)
    assert refusal.exit_code == 2
    text = str(refusal)
    assert len(text.splitlines()) <= 12
    least = min(profile.needs.vram_gib for profile in reading.load("wan22").profiles)
    assert f"an NVIDIA GPU with at least {least:g} GiB" in text  # what is missing
    assert "no GPU, 2 CPU cores, 16 GiB of host memory, 100 GiB of disk" in text  # what was found
    assert "demo" in text.partition("runs here")[2].splitlines()[0]  # which models do fit
    assert "$" in text  # what such a GPU costs an hour
    assert prices.load().date in text  # and when that was looked up
    assert "downloaded   nothing" in text
    assert "make up MODEL=demo" in refusal.fix


def test_the_command_itself_ends_with_2_and_tells_it_on_stderr() -> None:
    arguments = ["plan", "--model", "wan22", "--gpu", "none", *HOST]
    done = subprocess.run(
        [sys.executable, "-c", "from bootstrap.cli import run; run()", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: wan22 needs an NVIDIA GPU")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--gpu", "6gib:8.9", *HOST), "the most that is free here is 6.0 GiB"),
        (("--gpu", "1/24gib:8.9", *HOST), "the most that is free here is 1.0 GiB"),
        (("--gpu", "24gib:6.1", *HOST), "has 6.1"),
        (
            ("--gpu", "24gib:8.9", "--ram", "4gib", "--disk", "100gib"),
            "GiB of host memory; 4 GiB are free here",
        ),
        (("--gpu", "24gib:8.9", "--ram", "64gib", "--disk", "10gib"), "10.0 GiB are free"),
    ],
)
def test_each_obstacle_is_named_with_its_numbers(arguments: tuple[str, ...], told: str) -> None:
    result = run("plan", "--model", "wan22", *arguments)
    assert isinstance(result.exception, NoFit)
    assert told in result.exception.problem


def test_the_refusal_is_in_the_json_too() -> None:
    document = planned("--model", "wan22", "--gpu", "none", *HOST)
    assert document["profile"] is None
    assert document["refusal"]["fix"].startswith("rent a GPU")
    assert {lack for profile in document["profiles"] for lack in profile["lacks"]} == {"gpu"}


def test_the_text_shows_machine_platform_profiles_licence_and_download() -> None:
    result = run("plan", "--model", "svd-xt-1-1", "--gpu", "24gib:8.9", *HOST, RUNPOD_POD_ID="w3xyz")
    assert result.exit_code == 0
    for told in (
        "24.0 GiB of 24.0 GiB free, compute capability 8.9",
        "RunPod, whose proxy cuts requests after 100 s",
        "https://w3xyz-8000.proxy.runpod.net",
        "gated: accept it at https://huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt-1-1",
        "set HF_TOKEN, which is not set",
        "4.2 GiB, 9 files",
        "-> ",
    ):
        assert told in " ".join(result.stdout.split())  # lines are wrapped


def test_a_token_that_is_set_is_not_shown() -> None:
    result = run("plan", "--model", "svd-xt-1-1", "--gpu", "24gib:8.9", *HOST, HF_TOKEN="hf_s3cret")
    assert "HF_TOKEN is set" in result.stdout
    assert "hf_s3cret" not in result.output


def test_what_is_not_known_is_said_to_be_not_known() -> None:
    result = run("plan", "--model", "demo", "--gpu", "24gib", *HOST)
    assert "compute capability not known" in " ".join(result.stdout.split())


@pytest.mark.parametrize("model", ["wan22", "wan22-i2v", "wan22-5b", "svd-xt-1-1", "demo"])
@pytest.mark.parametrize("card", ["RTX 4090", "20/24gib:8.6:NVIDIA GeForce RTX 3090", "none"])
def test_a_plan_fits_eighty_columns(model: str, card: str) -> None:
    result = run("plan", "--model", model, "--gpu", card, *HOST, "--pcie", "3x1", "--price", "0.4")
    for line in result.stdout.splitlines():
        whole = line.split()[-1].lstrip("(") if line else ""  # an address or a path is not broken
        assert len(line) <= 80 or whole.startswith(("https://", "/")), line


def test_eight_cards_of_a_kind_are_one_line_and_the_idle_ones_are_explained() -> None:
    cards = ("--gpu", "H100 80GB") * 8
    told = run("plan", "--model", "wan22", *cards, "--ram", "96gib", "--disk", "100gib").stdout
    assert told.startswith("gpu       8 x H100 80GB, 74.4 GiB of 80.0 GiB free")
    words = " ".join(told.split())
    assert "runs as full on 4 GPU workers" in words
    assert "host memory is enough for 4 of 8 workers: each needs 24 GiB of 96.0" in words


def test_a_card_by_its_name_on_a_riser() -> None:
    arguments = ("--model", "wan22", "--gpu", "RTX 4090", "--pcie", "3x1", *HOST, "--link", "250mbit")
    document = planned(*arguments, "--price", "0.4")
    assert document["profile"] == "stream"
    assert document["forecast"]["pcie"] == "PCIe 3 x1"
    assert document["forecast"]["clip_seconds"] > 2 * 34
    assert [each["code"] for each in document["machine"]["findings"]] == ["slow_pcie"]
    told = " ".join(run("plan", *arguments).stdout.split())
    for words in ("PCIe 3 x1, about 0.8 GB/s", "because of PCIe 3 x1 (predicted from an H200's)"):
        assert words in told


def test_an_unknown_profile_names_the_known_ones() -> None:
    result = run("plan", "--model", "wan22", "--profile", "fastest")
    assert isinstance(result.exception, KitError)
    assert reading.load("wan22").profiles[0].name in result.exception.fix


def test_a_model_that_is_there_needs_no_disk(clean_environment: Path) -> None:
    store = clean_environment / "store"
    demo = reading.load("demo")
    fetch.fetch(
        demo,
        store=store / "models",
        token=None,
        endpoint="https://huggingface.co",
        report=lambda _: None,
    )
    arguments = (
        "--model",
        "demo",
        "--data-dir",
        str(store),
        "--gpu",
        "none",
        "--ram",
        "8gib",
        "--disk",
        "0gib",
    )
    document = planned(*arguments)
    assert document["model"]["missing_bytes"] == 0
    assert document["fits"] is True


def test_models_lists_everything_and_what_fits() -> None:
    listed = {each["name"]: each for each in json.loads(run("models", "--json").stdout)}
    assert {"svd", "svd-xt", "svd-xt-1-1", "wan22", "wan22-i2v", "wan22-5b", "demo", "demo-wan"} <= set(
        listed
    )
    assert listed["svd-xt-1-1"]["gated"] is True
    assert listed["demo"]["profile"]
    text = run("models").stdout
    assert "wan22-5b" in text
    assert "(gated)" in text
    assert max(map(len, text.splitlines())) <= 88


def test_config_shows_values_and_sources_and_masks_secrets() -> None:
    shown = json.loads(run("config", "--json", KINOKIT_PORT="9001", HF_TOKEN="hf_s3cret").stdout)
    assert shown["port"] == {"value": 9001, "source": "environment KINOKIT_PORT"}
    assert shown["hf_token"]["value"] == "********"
    text = run("config", KINOKIT_PORT="9001", HF_TOKEN="hf_s3cret").stdout
    assert "environment KINOKIT_PORT" in text
    assert "hf_s3cret" not in text


def test_manifest_check_and_schema() -> None:
    assert "no mistakes" in run("manifest", "check", "wan22").stdout
    assert "kinokit manifest lock svd-xt-1-1" in run("manifest", "check", "svd-xt-1-1").stdout
    assert json.loads(run("manifest", "schema").stdout)["title"] == "kinokit model manifest"


def test_programs_read_what_people_see() -> None:
    checked = json.loads(run("manifest", "check", "svd-xt-1-1", "--json").stdout)
    assert checked["name"] == "svd-xt-1-1"
    assert checked["without_hash"]
    compared = json.loads(run("cost", "--model", "wan22", "--clips", "7", "--json").stdout)
    assert (compared["model"], compared["clips"]) == ("wan22", 7)
    assert {row["way"] for row in compared["rows"]} == {"rent", "own", "api"}


def test_the_version_is_shown() -> None:
    assert run("--version").stdout == f"kinokit {__version__}\n"


def test_a_shell_completes_commands_and_their_options() -> None:
    for typed, position, wanted in (("kinokit pl", 1, "plan"), ("kinokit up --mo", 2, "--model")):
        env = {"_KINOKIT_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(position)}
        done = CliRunner(env=env).invoke(app, prog_name="kinokit")
        assert done.stdout.split() == [wanted]


def test_prices_are_dated_ranges() -> None:
    known = prices.load()
    assert len(known.date) == 7
    assert all(0 < gpu.low < gpu.high < 20 for gpu in known.gpus)
    assert [gpu.name for gpu in prices.cheapest(known, 13.5, 8.9, count=1)] == ["RTX 4090"]
    assert prices.cheapest(known, 500, None) == []


def test_a_command_runs_whatever_program_calls_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["another-program"])
    assert planned("--model", "svd-xt", "--gpu", "24gib:8.9", *HOST)["fits"] is True


def test_a_mistyped_command_gets_a_suggestion() -> None:
    result = run("paln")
    assert result.exit_code == 2
    assert "Did you mean 'plan'" in result.output


def test_startup_says_which_larger_gpus_are_quicker() -> None:
    published = {
        "KINOKIT_SOURCE": "https://forge.example/studio/kit.git@v1",
        "KINOKIT_SCRIPT_URL": "https://forge.example/start.sh",
    }
    told = run("startup", "--platform", "vast", "--model", "wan22", **published).stdout
    for profile in reading.load("wan22").profiles:
        named = f"{profile.name} ({profile.needs.vram_gib:g} GiB"
        assert (named in told) == (not profile.name.endswith("-exact")), profile.name
    told = run("startup", "--platform", "vast", "--profile", "stream", **published).stdout
    assert told
    assert "--profile" not in told
