"""What a visitor does on the studio's page, and sees there."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Locator, Page, expect

PLAYS = "(video) => video.readyState >= 2 && video.currentTime > 0.1 && !video.error"


def give_photo(page: Page, photo: Path) -> None:
    page.set_input_files("#k-photo input[type=file]", photo)
    expect(page.locator("#k-photo img")).to_be_visible()


def playing(page: Page) -> Locator:
    video = page.locator("#k-screen video")
    expect(video).to_be_visible()
    page.wait_for_function(PLAYS, arg=video.element_handle())
    return video
