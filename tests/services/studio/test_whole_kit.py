"""The whole kit with the demo model, through a browser only: from the first page to a clip that plays."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.journeys.kit import CLIP_SECONDS, READY_SECONDS, Kit
from tests.services.studio.conftest import Desk
from tests.services.studio.pages import give_photo, playing
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser


class StudioKit(Kit):
    def up_arguments(self) -> list[str]:
        return ["up", "--model", self.model, "--service", "ui", "--port", str(self.port), "--auth", "on"]


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[StudioKit]:
    kit = StudioKit(tmp_path)
    kit.start()
    try:
        yield kit
    finally:
        kit.close()


@pytest.mark.timeout(READY_SECONDS + CLIP_SECONDS + 60)
def test_a_visitor_sees_the_boot_then_makes_a_clip(kit: StudioKit, desk: Desk, photo: Path) -> None:
    wait_for((kit.data_dir / "token").exists, 60)
    wait_for(lambda: kit.http.get("/healthz").status_code == 200, 60)
    token = (kit.data_dir / "token").read_text().strip()

    page = desk.open(f"{kit.url}/?token={token}")
    expect(page.locator("#steps li.done").first).to_be_visible()
    expect(page.locator("#facts")).to_contain_text("Demo")
    expect(page.get_by_text("Your clip plays here")).to_be_visible(timeout=READY_SECONDS * 1000)
    assert page.url == f"{kit.url}/studio/"

    give_photo(page, photo)
    page.locator("#k-make").click()
    expect(page.get_by_role("progressbar", name="Progress of the clip")).to_be_visible()
    expect(page.locator("#k-screen video")).to_be_visible(timeout=CLIP_SECONDS * 1000)
    video = playing(page)
    assert video.evaluate("(video) => [video.videoWidth, video.videoHeight]") == [224, 128]
    page.reload()
    expect(page.locator(".k-tile")).to_have_count(1)
