from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import driver


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a driver's libraries, which the variables of ``driver.says`` describe."""
    return driver.library(tmp_path_factory.mktemp("driver"))
