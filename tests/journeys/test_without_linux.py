"""The kit where Linux's own calls and files are not: what a Mac has is enough to make a clip."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from tests.journeys.kit import Kit
from tests.support.processes import gone
from tests.support.waiting import wait_for

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]

# Each Python of the kit reads it first. What others wrote chooses its parts before, since this is Linux.
TAKEN_AWAY = """
import asyncio, ctypes.util, multiprocessing, os, selectors, socket, subprocess, sys, urllib.request
import psutil

CALLS = (
    "copy_file_range eventfd fdatasync getrandom memfd_create pidfd_open posix_fadvise posix_fallocate setns"
    " sched_getaffinity sched_setaffinity splice unshare getxattr setxattr RWF_NOWAIT O_DIRECT"
    " POSIX_FADV_DONTNEED POSIX_FADV_WILLNEED"
)
OPTIONS = "AF_NETLINK SO_BINDTODEVICE SO_PEERCRED TCP_KEEPIDLE TCP_QUICKACK TCP_USER_TIMEOUT"
for module, names in ((os, CALLS), (socket, OPTIONS)):
    for name in names.split():
        vars(module).pop(name, None)
sys.platform = "darwin"
look = os.stat


def refuse(path):
    if not str(path).startswith(("/proc", "/sys/")):
        return
    frame = sys._getframe(2)
    while frame and ("pathlib" in frame.f_code.co_filename or frame.f_code.co_filename.startswith("<frozen")):
        frame = frame.f_back
    file = frame.f_code.co_filename if frame else ""
    if file.startswith(ROOT) and not file.startswith(sys.prefix):  # the environment may lie in the checkout
        raise FileNotFoundError(2, "No such file or directory", str(path))


def stat(path, *arguments, **options):
    refuse(path)
    return look(path, *arguments, **options)


os.stat = stat
HEARD = ("open", "os.listdir", "os.scandir")
sys.addaudithook(lambda event, arguments: refuse(arguments[0]) if event in HEARD else None)
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(f"ROOT = {str(ROOT)!r}\n{TAKEN_AWAY}")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'site'}:{ROOT}")
    monkeypatch.setenv("_PYTHON_SYSCONFIGDATA_NAME", sysconfig._get_sysconfigdata_name())  # type: ignore[attr-defined]


@pytest.mark.usefixtures("elsewhere")
def test_the_demo_makes_a_clip_and_its_processes_end_with_the_agent(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.start()
    try:
        kit.ready()
        kit.sign_in()
        job = kit.ended(kit.ask(num_inference_steps="1"))
        assert job["status"] == "completed", job
        everybody = kit.everybody()
        everybody[0].kill()  # by the kernel's signal elsewhere
        wait_for(lambda: all(gone(each.pid) for each in everybody))
    finally:
        kit.close()
    assert "Traceback" not in (tmp_path / "data/logs/front.log").read_text()
