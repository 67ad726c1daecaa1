"""Which tests run beside each other when ``make test`` starts several workers (pytest-xdist).

There are more workers than cores, because most tests wait. The tests of a module stay on one worker, so
that what they share is made once. One worker builds Docker's ``images`` and has all tests that use them,
one has the ``postgres`` tests. The tests of an ``apart`` module share nothing, and each goes to any worker;
an ``alone`` test measures time: it waits until the others end, and none begins meanwhile. A container's
start changes the machine's network, upon which Chromium breaks off what it loads: ``browser`` tests run on
one worker, and never beside one of ``docker``.

Workers read the marks, the scheduler knows names only, so the first worker writes the group of each test
into a file. (pytest-xdist's own groups are lost since pytest 9.2: its issue 1386.)
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

# Variables that name files, inherited by the workers.
FILE = "TESTS_SIDE_BY_SIDE"  # the groups; every test locks it, an ``alone`` test by itself
NETWORK = "TESTS_NETWORK"  # locked by the tests of ``docker`` together, by one of ``browser`` by itself
ONE_GROUP = ("alone", "browser", "postgres")
# The folders that take longest come first, so that no worker is left with them in the end.
SLOWEST = ("images", "journeys", "services/worker", "bootstrap/fetch")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        for variable in (FILE, NETWORK):
            handle, os.environ[variable] = tempfile.mkstemp(prefix="tests-side-by-side-")
            os.close(handle)
        # Threads of torch that wait for each other must not keep the cores from other workers.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def pytest_unconfigure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):
        for variable in (FILE, NETWORK):
            Path(os.environ.pop(variable)).unlink()


class Groups(LoadScopeScheduling):  # type: ignore[misc]  # it has no types
    """Gives a worker one group after the other."""

    @cached_property
    def _groups(self) -> dict[str, str]:
        found: dict[str, str] = json.loads(Path(os.environ[FILE]).read_text())
        return found

    def _split_scope(self, nodeid: str) -> str:
        return self._groups[nodeid]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    config.option.loadscopereorder = False
    return Groups(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FILE not in os.environ:
        return
    items.sort(key=_turn)
    if os.environ["PYTEST_XDIST_WORKER"] == "gw0":
        Path(os.environ[FILE]).write_text(json.dumps({item.nodeid: _group(item) for item in items}))


def _group(item: pytest.Item) -> str:
    if "images" in getattr(item, "fixturenames", ()):
        return "images"
    for name in ONE_GROUP:
        if item.get_closest_marker(name):
            return name
    return item.nodeid if item.get_closest_marker("apart") else item.nodeid.partition("::")[0]


def _turn(item: pytest.Item) -> int:
    """Browsers come late: earlier they would wait for the containers' end, and a worker with them."""
    for later, mark in enumerate(("browser", "alone"), 1):
        if item.get_closest_marker(mark):
            return len(SLOWEST) + later
    found = (turn for turn, folder in enumerate(SLOWEST) if item.nodeid.startswith(f"tests/{folder}/"))
    return next(found, len(SLOWEST))


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the time limit of a test
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, bool, bool]:
    if FILE not in os.environ:
        return (yield)
    marks = {mark.name for mark in item.iter_markers()}
    with ExitStack() as locks:
        if marks & {"browser", "docker"}:
            locks.enter_context(_locked(NETWORK, exclusive="browser" in marks))
        locks.enter_context(_locked(FILE, exclusive="alone" in marks))
        return (yield)


@contextmanager
def _locked(variable: str, *, exclusive: bool) -> Generator[None]:
    """Hold a file's lock together with others, or by itself."""
    with Path(os.environ[variable]).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield
