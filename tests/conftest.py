"""What holds for every test: the settings of whoever runs them are out of the way, and CI skips nothing."""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from bootstrap.settings import ALIASES, PREFIX

pytest_plugins = ["tests.support.side_by_side"]

for name in [*os.environ]:
    if name.startswith(PREFIX) or any(name in aliases for aliases in ALIASES.values()):
        del os.environ[name]

IN_CI = os.environ.get("CI") == "true"
HAS_GPU = Path("/dev/nvidiactl").exists()
if not HAS_GPU:
    # Triton's own functions are made at its first import, in whichever test that happens.
    os.environ.setdefault("TRITON_INTERPRET", "1")


@pytest.fixture(autouse=True, scope="session")
def _no_home(tmp_path_factory: pytest.TempPathFactory) -> Generator[None]:
    """A command that is not told where to keep its data must not find this user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of a GPU are left out where there is none: they are not skipped, they are not asked for."""
    if HAS_GPU:
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a skip is a failure: what is not tested there is tested nowhere."""
    report = yield
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
