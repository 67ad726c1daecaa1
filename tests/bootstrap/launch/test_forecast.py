"""What a start will take, before anybody pays; and the table of what it took."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from bootstrap.choose import catalogue, reading
from bootstrap.cli import app
from bootstrap.detect.machine import GIB, Gpu, Machine, PcieLink
from bootstrap.errors import KitError
from bootstrap.fetch.progress import FileProgress, State
from bootstrap.launch import forecast, history, waterfall
from bootstrap.launch.forecast import Host
from bootstrap.launch.timeline import LOCAL, Timeline

GBIT = 125e6


def boot(*spans: tuple[str, str, float, float, int | None], model: str = "wan22") -> dict[str, Any]:
    timeline = Timeline()
    for name, track, start, end, count in spans:
        timeline.begin(name, track, at=1000 + start)
        timeline.end(name, track, at=1000 + end, bytes=count)
    return {"model": model, "platform": "vast", "started_at": 1000.0, "timeline": timeline.rows()}


def card(name: str = "NVIDIA H200", *, pcie: PcieLink | None = None, share: float = 1.0) -> Gpu:
    return Gpu(name, name, 141 * GIB, 140 * GIB, (9, 0), pcie=pcie, compute_share=share)


def predict(profile: str = "full", host: Host | None = None, **changes: Any) -> forecast.Forecast:
    model = reading.load("wan22")
    chosen = next(each for each in model.profiles if each.name == profile)
    given: dict[str, Any] = {
        "missing_bytes": model.download_bytes,
        "link_bytes_per_second": GBIT,
        "dollars_per_hour": 2.4,
    }
    return forecast.predict(model, chosen, host or Host((card(),)), **(given | changes))


def test_imports_and_loading_hide_behind_the_download_but_for_the_file_that_comes_last() -> None:
    said = predict()
    size = reading.load("wan22").download_bytes
    largest = 14_293_923_632
    assert said.download_seconds == pytest.approx(size / GBIT * 1.05)
    assert said.load_seconds == pytest.approx(1 + size / 12.7e9)
    assert said.ready_seconds == pytest.approx(1.8 + size / GBIT * 1.05 + said.load_seconds * largest / size)
    assert said.first_clip_seconds == pytest.approx(8.3)
    assert said.ready_seconds is not None
    assert said.dollars == pytest.approx((said.ready_seconds + 8.3) / 3600 * 2.4)


def test_a_warm_volume_waits_for_the_imports_and_the_disk() -> None:
    said = predict(missing_bytes=0, link_bytes_per_second=None)
    assert said.download_seconds == 0
    assert said.ready_seconds == pytest.approx(1.8 + 5 + 1 + said_bytes() / 1.7e9)


def said_bytes() -> int:
    return reading.load("wan22").download_bytes


def test_what_nobody_measured_is_not_known() -> None:
    said = predict(link_bytes_per_second=None)
    assert (said.download_seconds, said.ready_seconds, said.dollars) == (None, None, None)
    assert predict(host=Host((card("a card of tomorrow"),))).first_clip_seconds is None
    assert predict(dollars_per_hour=None).dollars is None


def test_an_earlier_boot_of_this_box_is_believed_more_than_the_table() -> None:
    earlier = boot(
        ("fetch", "kit", 2, 12, None),
        ("a", "download", 2, 12, 500_000_000),
        ("imports", "w-0", 3, 9, None),
        ("load", "w-0", 12, 19, None),
        ("ready", "kit", 19, 19, None),
        ("first clip", "w-0", 20, 36, None),
    )
    said = predict(link_bytes_per_second=None, boots=[earlier])
    assert said.link_bytes_per_second == pytest.approx(50e6)
    assert (said.load_seconds, said.first_clip_seconds) == (7, 16)
    other = predict(boots=[boot(("load", "w-0", 1, 2, None), ("ready", "kit", 2, 2, None), model="svd")])
    assert other.basis["load"] == "table"


def test_a_riser_of_one_lane_costs_seconds_and_dollars_for_each_clip() -> None:
    """The review's example: 0.8 GB/s, 15.3 GB a step; what a plan without the link called 35 s."""
    riser = predict("stream", Host((card("NVIDIA GeForce RTX 4090", pcie=PcieLink(3, 1)),)))
    assert riser.clip_seconds == pytest.approx(88, abs=1)
    assert riser.clip_link_seconds == pytest.approx(55, abs=1)
    assert riser.clip_dollars == pytest.approx(88 / 3600 * 2.4, rel=0.02)
    (finding,) = forecast.findings(riser)
    assert finding.code == "slow_pcie"
    for told in ("PCIe 3 x1", "88 s", "55 s", "$0.036 of its $0.059"):
        assert told in finding.problem
    slot = predict("stream", Host((card("NVIDIA GeForce RTX 4090", pcie=PcieLink(4, 16)),)))
    assert forecast.findings(slot) == ()


def test_loading_is_as_fast_as_the_slowest_part_of_its_way() -> None:
    size = said_bytes()
    assert predict(host=Host((card(pcie=PcieLink(3, 1)),))).load_seconds == pytest.approx(1 + size / 0.8e9)
    streamed = predict("stream", Host((card(pcie=PcieLink(3, 1)),)))  # its weights stay in host memory
    assert streamed.load_seconds == pytest.approx(1 + size / 12.7e9)
    disk = predict(host=Host((card(),), disk_read_bytes_per_second=0.3e9), missing_bytes=0)
    assert disk.load_seconds == pytest.approx(1 + size / 0.3e9)


def test_a_disk_that_takes_less_than_the_link_gives_is_what_the_download_waits_for() -> None:
    said = predict(host=Host((card(),), disk_write_bytes_per_second=20e6))
    assert said.download_seconds == pytest.approx(said_bytes() / 20e6 * 1.05)
    assert said.basis["download"] == "the disk's rate"


def test_packages_and_the_time_before_the_command_count() -> None:
    plain = predict()
    said = predict(host=Host((card(),), before_seconds=100.0), packages_bytes=3_000_000_000)
    assert said.download_bytes == plain.download_bytes + 3_000_000_000
    assert said.ready_seconds == pytest.approx((plain.ready_seconds or 0) + 3e9 / GBIT * 1.05)
    assert said.dollars == pytest.approx((plain.dollars or 0) + (3e9 / GBIT * 1.05 + 100) / 3600 * 2.4)


@pytest.mark.parametrize(
    ("files", "gigabytes"),
    [
        (["torch-cuda.txt", "gpu.txt", "ui.txt"], 3.05),
        (["torch-cpu.txt"], 0.2),
        (["torch-cu128.txt"], 2.8),
        (["something-else.txt"], 0),
        ([], 0),
    ],
)
def test_packages_are_known_by_their_requirement_files(files: list[str], gigabytes: float) -> None:
    assert forecast.packages_bytes(files) == pytest.approx(gigabytes * 1e9)


def test_the_card_that_works_is_forecast_and_not_the_first_one() -> None:
    small = Gpu("GPU-0", "NVIDIA GeForce RTX 3070", 8 * GIB, 7 * GIB, (8, 6))
    large = Gpu("GPU-1", "NVIDIA GeForce RTX 4090", 24 * GIB, 23 * GIB, (8, 9), pcie=PcieLink(4, 16))
    machine = Machine(gpus=(small, large), ram_limit_bytes=64 * GIB, ram_available_bytes=64 * GIB)
    model = reading.load("wan22")
    judged = catalogue.entry(model, machine, lambda manifest: manifest.download_bytes)
    host = Host.of(machine, judged)
    assert host.gpus == (large,)
    assert judged.choice.profile is not None
    said = forecast.predict(model, judged.choice.profile, host, missing_bytes=0)
    assert said.clip_seconds == pytest.approx(34, abs=1)
    assert said.basis["clip"] == "predicted from an H200's"


def test_a_seventh_of_a_card_takes_seven_times_as_long_and_is_a_prediction() -> None:
    whole, part = predict(), predict(host=Host((card(share=1 / 7),)))
    assert part.clip_seconds == pytest.approx(7 * (whole.clip_seconds or 0))
    assert whole.basis["clip"] == "measured on such a card"
    assert part.basis["clip"] == "predicted from an H200's"


def test_the_time_that_loading_waited_for_files_is_no_loading_time() -> None:
    document = boot(("load", "w-0", 10, 40, None), ("wait for a", "w-0", 10, 34, None))
    document["timeline"][1]["waited_for"] = "a"
    assert waterfall.measured(document)["load_seconds"] == 6


def test_files_that_were_on_the_box_say_nothing_about_the_link() -> None:
    timeline = Timeline(clock=iter([1.0, 5.0]).__next__)
    timeline.files([file("verifying")])
    timeline.files([file("done")])
    row = timeline.rows()[0]
    assert (row["detail"], row["ended_at"] - row["started_at"]) == (LOCAL, 4.0)
    assert forecast.link_of([{"timeline": timeline.rows()}]) is None


def test_files_that_were_verified_before_are_no_part_of_the_timeline() -> None:
    timeline = Timeline()
    timeline.files([file("done")])
    timeline.files([file("verifying")])
    assert timeline.rows() == []


def file(state: State) -> FileProgress:
    return FileProgress("a.safetensors", 0, 10**9, state)


@pytest.mark.parametrize(
    ("text", "rate"),
    [("1gbit", 125e6), ("250 Mbit/s", 31.25e6), ("125MB/s", 125e6), ("1.5Gbps", 187.5e6), ("800kbit", 1e5)],
)
def test_a_links_speed_is_written_in_many_ways(text: str, rate: float) -> None:
    assert forecast.link(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["fast", "1000", "0gbit", "-1gbit", "1 furlong", ""])
def test_what_is_no_speed_is_told(text: str) -> None:
    with pytest.raises(KitError, match="is no speed"):
        forecast.link(text)


def test_the_last_twenty_boots_are_kept(tmp_path: Any) -> None:
    for number in range(25):
        history.keep(tmp_path, {"started_at": 1000.0 + number, "model": "demo"})
    kept = history.last(tmp_path)
    assert [each["started_at"] for each in kept] == [1024.0 - number for number in range(20)]
    assert history.last(tmp_path, model="wan22") == []


def test_prediction_stands_against_fact() -> None:
    document = boot(("fetch", "kit", 2, 12, None), ("ready", "kit", 19, 19, None))
    document["prediction"] = {"download_seconds": 9.5, "load_seconds": 3.0, "ready_seconds": 20.0}
    lines = waterfall.text(document)
    assert "download          9.5 s    10.0 s" in lines
    assert "ready            20.0 s    17.0 s" in lines
    assert not any(line.startswith("load ") for line in lines[-3:])


def test_what_overlaps_gets_lines_of_its_own_in_the_trace() -> None:
    trace = waterfall.chrome(
        boot(("a", "download", 0, 4, 1), ("b", "download", 1, 3, 1), ("c", "download", 4, 5, 1))
    )
    lines = {event["name"]: event["tid"] for event in trace["traceEvents"] if event["ph"] == "X"}
    assert lines["a"] == lines["c"] != lines["b"]
    assert trace["traceEvents"][1]["ts"] == 0


def test_an_own_manifest_brings_its_own_clip_time() -> None:
    model = reading.load("wan22").model_copy(update={"name": "mine", "clip_seconds": 14.4})
    said = forecast.predict(model, model.profiles[0], Host((card(),)), missing_bytes=0)
    assert said.first_clip_seconds == pytest.approx(14.4 + model.family.first_clip_extra_seconds)


def test_a_model_that_nobody_measured_is_not_compared() -> None:
    result = CliRunner().invoke(app, ["cost", "--model", "wan22-5b"])
    assert isinstance(result.exception, KitError)
    assert "known are svd, svd-xt, svd-xt-1-1, wan22, wan22-i2v" in result.exception.fix
