"""The table of image tags in the documentation says what is pinned and what the kit's own rule asks for."""

from __future__ import annotations

import re

from bootstrap.detect import cuda_build
from bootstrap.launch import packages

PAGE = packages.REQUIREMENTS.parent / "docs/images.md"


def test_each_tag_stands_with_the_cuda_that_is_pinned_and_the_oldest_driver_that_runs_it() -> None:
    rows = re.findall(
        r"\| `cu(\d+)` \| (\d+)\.(\d+) \| ([\d.]+) \| `requirements/(\S+)` \|", PAGE.read_text()
    )
    assert rows
    for tag, major, minor, driver, file in rows:
        assert tag == f"{major}{minor}"
        assert f"nvidia-cuda-runtime=={major}.{minor}." in (packages.REQUIREMENTS / file).read_text()
        assert cuda_build.OLDEST_DRIVER[int(major)] == driver
