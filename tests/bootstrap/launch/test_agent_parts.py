"""The small parts of the agent: the port, the lock, the document, the terminal, the idle stop."""

from __future__ import annotations

import asyncio
import io
import json
import os
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bootstrap import data_directory, terminal, volume
from bootstrap.errors import KitError
from bootstrap.launch import exit_reason, listener
from bootstrap.launch.document import BootDocument
from bootstrap.launch.idle import Idle
from bootstrap.launch.listener import Bound
from bootstrap.launch.processes import Processes, named_by
from bootstrap.launch.run import Run, only_the_page_is_seen
from bootstrap.platforms import PLATFORMS
from bootstrap.settings import Settings
from tests.support.ports import free_port
from tests.support.waiting import wait_for


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_taken_port_is_told_with_its_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(KitError, match=rf"port {port} is in use by .*\(process {os.getpid()}\)"):
            listener.listen("127.0.0.1", port)


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(KitError, match=r"192\.0\.2\.1 is not an address of this machine"):
        listener.listen("192.0.2.1", free_port())


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("127.0.0.1", "http://127.0.0.1:8000"),
        ("localhost", "http://127.0.0.1:8000"),
        ("127.0.0.5", "http://127.0.0.5:8000"),  # 127.0.0.1 does not answer then
        ("::", "http://[::1]:8000"),
        ("10.1.2.3", "http://10.1.2.3:8000"),
    ],
)
def test_the_machine_reaches_itself_where_it_listens(host: str, url: str) -> None:
    assert listener.local_url(host, 8000) == url


def test_one_agent_at_a_time_and_the_second_hears_of_the_first(tmp_path: Path) -> None:
    with data_directory.occupy(tmp_path):
        data_directory.write_record(tmp_path, pid=123, url="http://here:1", model="demo")
        assert data_directory.running(tmp_path) == {"pid": 123, "url": "http://here:1", "model": "demo"}
        with pytest.raises(KitError, match=r"already running .* demo at http://here:1 \(process 123\)"):
            data_directory.occupy(tmp_path)
    assert data_directory.running(tmp_path) is None


def test_a_killed_holder_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; from bootstrap import data_directory;"
        "lock = data_directory.occupy(Path(sys.argv[1])); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)])
    data_directory.occupy(tmp_path).close()


def test_a_token_is_made_once_kept_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    first = data_directory.keep_token(tmp_path / "token")
    assert data_directory.keep_token(tmp_path / "token") == first
    assert len(first) >= 32
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600
    assert data_directory.keep_token(tmp_path / "token", "wanted") == "wanted"
    assert (tmp_path / "token").read_text().split() == ["wanted", first]


def test_the_token_that_is_a_setting_is_a_line_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("open-button\nguest\nfriend\n")
    for _ in range(2):  # each start
        assert data_directory.keep_token(file, "open-button") == "open-button"
        assert file.read_text().split() == ["open-button", "guest", "friend"]
    assert data_directory.keep_token(file, "rotated") == "rotated"
    assert file.read_text().split() == ["rotated", "guest", "friend"], "the old setting opens nothing"
    assert data_directory.keep_token(file) == "rotated", "without the setting nobody is locked out"
    file.write_text("guest\n")
    assert data_directory.keep_token(file, "rotated") == "rotated"
    assert file.read_text().split() == ["rotated", "guest"]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "rotated" not in (tmp_path / "token.setting").read_text()


def test_what_earlier_boots_left_open_is_closed_and_shared_models_are_not(tmp_path: Path) -> None:
    for data_dir in (tmp_path / "alone", tmp_path / "volume/boxes/left"):
        models = volume.models(data_dir)
        for folder in (data_dir / "jobs/video_1", data_dir / "logs", models):
            folder.mkdir(parents=True)
        for file in (data_dir / "jobs.db", data_dir / "logs/front.log", models / "weights"):
            file.write_text("")
            file.chmod(0o644)
        data_directory.make_private(data_dir)
        for private in (
            data_dir / "jobs",
            data_dir / "jobs.db",
            data_dir / "logs",
            data_dir / "logs/front.log",
        ):
            assert not private.stat().st_mode & 0o077, private
        assert models.stat().st_mode & 0o055
        assert (models / "weights").stat().st_mode & 0o044
    assert stat.S_IMODE((tmp_path / "volume/boxes/left").stat().st_mode) == 0o700


def test_the_document_is_written_at_most_five_times_a_second(tmp_path: Path) -> None:
    clock = Clock()
    document = BootDocument(tmp_path / "boot.json", clock=clock, model="demo")
    document.begin("fetch")
    written = (tmp_path / "boot.json").stat().st_mtime_ns
    for done in range(50):
        document.advance("fetch", bytes_done=done)
        document.flush()
    assert (tmp_path / "boot.json").stat().st_mtime_ns == written
    clock.now += 0.2
    document.flush()
    phase = json.loads((tmp_path / "boot.json").read_text())["phases"][2]
    assert (phase["name"], phase["state"], phase["bytes_done"]) == ("fetch", "running", 49)


def test_a_failure_names_its_phase_and_state(tmp_path: Path) -> None:
    document = BootDocument(tmp_path / "boot.json")
    document.begin("fetch")
    document.fail("fetch", KitError("the disk is full", fix="free some"))
    read = json.loads((tmp_path / "boot.json").read_text())
    assert read["state"] == "failed"
    told = {"problem": "the disk is full", "fix": "free some", "phase": "fetch", "ends": False}
    assert read["failure"] == told
    assert read["phases"][2]["state"] == "failed"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a tmpfs")
def test_a_full_disk_does_not_hide_that_it_is_full(tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(tmp_path)], check=True)
    try:
        document = BootDocument(tmp_path / "boot.json")
        with pytest.raises(OSError), (tmp_path / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))
        document.fail("fetch", KitError("the disk is full", fix="free some"))
        assert json.loads((tmp_path / "boot.json").read_text())["failure"]["problem"] == "the disk is full"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def fetching(done: int) -> dict[str, Any]:
    running = {
        "name": "fetch", "state": "running", "started_at": 1.0, "ended_at": None, "detail": None,
        "bytes_done": done, "bytes_total": 2**32, "bytes_per_second": 2.0**27, "eta_seconds": 24.0,
    }  # fmt: skip
    return {"phases": [running]}


def test_a_log_gets_a_plain_line_every_few_seconds() -> None:
    clock, out = Clock(), io.StringIO()
    shown = terminal.Terminal(out, clock=clock)
    for tick in range(100):  # ten seconds
        shown.show(fetching(2**30 + tick))
        clock.now += 0.1
    assert out.getvalue().splitlines() == ["  fetch   25 %  1.0 of 4.0 GiB  128.0 MiB/s  24 s left"] * 1
    shown.show(fetching(2**31))
    assert out.getvalue().splitlines()[-1].startswith("  fetch   50 %")


def test_a_terminal_gets_one_line_that_changes() -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    clock, out = Clock(), Screen()
    shown = terminal.Terminal(out, clock=clock)
    for _ in range(3):
        shown.show(fetching(2**30))
        clock.now += 0.3
    assert "\n" not in out.getvalue()
    assert out.getvalue().count("\r") == 3
    shown.say("done")
    assert out.getvalue().endswith("done\n")


@pytest.mark.parametrize(
    ("platform", "parent", "only_page"),
    [
        ("bare", 500, False),
        ("docker", 500, False),
        ("docker", 1, True),
        ("vast", 500, True),
        ("bare", 1, False),
    ],
)
def test_only_a_rented_box_or_a_container_shows_its_page_alone(
    platform: str, parent: int, only_page: bool
) -> None:
    assert only_the_page_is_seen(PLATFORMS[platform], parent) is only_page


def test_idleness_counts_from_the_last_work() -> None:
    clock = Clock()
    idle = Idle(600, clock=clock)
    working = {"queued": 0, "in_progress": 1, "completed": 0, "failed": 0}
    resting = {"queued": 0, "in_progress": 0, "completed": 1, "failed": 0}
    clock.now += 599
    idle.see(working)
    clock.now += 300
    idle.see(resting)  # a job ended between the looks
    clock.now += 599
    idle.see(resting)
    assert not idle.is_over()
    clock.now += 1
    assert idle.is_over()
    assert not Idle(None, clock=clock).is_over()


def test_who_asks_for_something_uses_the_box_and_the_end_is_announced() -> None:
    clock = Clock()
    idle = Idle(600, clock=clock)
    clock.now += 500
    assert idle.warns()
    idle.see_use(unused_seconds=10)
    assert not idle.warns()
    assert idle.left_seconds() == 590
    idle.see_use(unused_seconds=400)  # what was before says nothing new
    assert idle.left_seconds() == 590
    idle.see_use(unused_seconds=-3600)  # it shall stay for an hour, and then the whole limit
    clock.now += 3600 + 449
    assert not idle.warns()
    clock.now += 1
    assert idle.warns()


def test_the_oom_killer_is_named_when_it_struck() -> None:
    assert "OOM killer" in exit_reason.reason(-9, oom_kills=1)
    assert exit_reason.reason(-9) == "killed by signal 9 (SIGKILL)"
    assert exit_reason.reason(-11) == "killed by signal 11 (SIGSEGV)"


def test_the_oom_kills_are_read_from_the_cgroup(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/box\n")
    (tmp_path / "sys/fs/cgroup/box").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/box/memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    assert exit_reason.oom_kills(proc=tmp_path / "proc", sys=tmp_path / "sys") == 2


def test_nothing_heavy_is_imported_before_the_port_is_bound() -> None:
    script = "import sys, bootstrap.launch.agent; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout.split()
    heavy = {"pydantic", "yaml", "httpx", "psutil", "typer", "fastapi", "asyncio", "torch"}
    assert heavy.isdisjoint(loaded)


def test_a_ctrl_c_that_comes_before_the_handlers_stand_ends_it_in_order(tmp_path: Path) -> None:
    """asyncio's own handler cancels the agent's task then."""
    data_directory.occupy(tmp_path).close()
    out = io.StringIO()

    async def interrupted() -> int:
        run = Run(
            Settings(data_dir=tmp_path, host="127.0.0.1", port=1, auth="off"),
            processes=Processes(tmp_path, {}),
            bound=Bound(0.0, 0.0),
            out=out,
        )
        running = asyncio.create_task(run.run())
        await asyncio.sleep(0)
        running.cancel()
        return await running

    assert asyncio.run(interrupted()) == 0
    assert "stopping" in out.getvalue()
    assert data_directory.record(tmp_path) is None


def test_the_address_of_an_earlier_boot_is_not_shown_again(tmp_path: Path) -> None:
    """Where the first visit tells it, the box has another one after a restart."""
    (tmp_path / data_directory.PUBLIC_URL).write_text("https://old.us.clorecloud.net")
    chosen = Settings(platform="clore", data_dir=tmp_path, host="127.0.0.1", port=free_port(), auth="off")
    (tmp_path / "settings.json").write_text(json.dumps(chosen.revealed()))
    command = [sys.executable, "-m", "bootstrap.launch.agent"]
    with (tmp_path / "settings.json").open() as given:
        agent = subprocess.Popen(command, stdin=given, stdout=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: data_directory.record(tmp_path) is not None, 60)
        assert not (tmp_path / data_directory.PUBLIC_URL).exists()
    finally:
        agent.terminate()
        said, _ = agent.communicate(timeout=60)
    assert "old.us.clorecloud.net" not in said


def test_an_image_without_runpods_sdk_says_on_a_queue_endpoint_which_one_is_meant(tmp_path: Path) -> None:
    """The process that takes the jobs would die for ever."""
    said = Processes(tmp_path, {"RUNPOD_WEBHOOK_GET_JOB": "https://x"}).start_bridge("http://127.0.0.1:8000")
    assert said is not None
    assert "queue endpoint" in said.problem
    assert "kinokit-serverless" in said.fix
    assert Processes(tmp_path, {}).start_bridge("http://127.0.0.1:8000") is None


def test_workers_with_a_boxs_own_token_have_its_name(tmp_path: Path) -> None:
    file = tmp_path / "worker-token"
    for text, begin in (("kw_left-2.s3cret\n", "left-2."), ("plain", ""), ("kw_", ""), ("kk_x.y", "")):
        file.write_text(text)
        assert named_by(file) == begin
    assert named_by(tmp_path / "nowhere") == ""
