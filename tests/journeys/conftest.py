"""One booted kit, shared by the journeys that leave it as they found it: a boot takes a while."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.journeys.kit import Diary, Kit
from tests.support.waiting import wait_for


class Booted(Kit):
    """``diary`` is of its boot."""

    diary: Diary


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Booted]:
    made = Booted(tmp_path_factory.mktemp("kit"))
    made.start()
    made.diary = Diary(made.url)
    try:
        wait_for(lambda: made.http.get("/healthz").status_code == 200, 60)
        made.sign_in()
        made.ready()
        wait_for(lambda: made.diary.answers[-1:] == [("ready", 200)], 30)  # its own next look
        made.diary.close()
        yield made
    finally:
        made.close()
