"""Strangers see a token field and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from services.front.settings import Settings
from tests.services.front.running import Front, running
from tests.services.studio import boots
from tests.services.studio.conftest import Desk, no_sideways_scroll

pytestmark = pytest.mark.browser


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with running(Settings(tmp_path)) as found:
        found.boot(**boots.fetching(0.2))
        yield found


def test_the_token_opens_the_page_and_is_asked_for_once(front: Front, desk: Desk) -> None:
    desk.watch.allowed += ["401"]
    page = desk.open(front.url)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert "H200" not in page.content() and front.token not in page.content()
    page.get_by_label("Token", exact=True).fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_have_text("This is not the token of this service.")
    page.get_by_label("Token", exact=True).fill(front.token)
    page.keyboard.press("Enter")
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    assert page.url == f"{front.url}/"
    page.reload()
    expect(page.locator("#headline")).to_have_text("Downloading the model")


def test_the_link_that_was_printed_signs_in_and_hides_the_token(front: Front, desk: Desk) -> None:
    page = desk.open(f"{front.url}/?token={front.token}")
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    assert "token" not in page.url


def test_a_token_that_changed_leads_back_to_signing_in(front: Front, desk: Desk) -> None:
    desk.watch.allowed += ["401"]
    page = desk.open(f"{front.url}/?token={front.token}")
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    (front.data_dir / "token").write_text("another\n")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_signing_in_works_on_a_narrow_phone(front: Front, desk: Desk) -> None:
    desk.watch.allowed += ["401"]
    page = desk.open(front.url, viewport={"width": 360, "height": 640})
    expect(page.get_by_label("Token", exact=True)).to_be_focused()
    assert no_sideways_scroll(page)
