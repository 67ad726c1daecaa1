"""A real Chromium. Pages are watched: an error in the console or a request to another host fails the test."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    expect,
    sync_playwright,
)

CHROMIUM = "/usr/bin/chromium"
QUIET = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


expect.set_options(timeout=60_000)  # a busy machine is slow, not wrong


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = pytest.mark.skip(reason=f"needs Debian's chromium at {CHROMIUM}")
    for item in items:
        if item.get_closest_marker("browser") and not Path(CHROMIUM).exists():
            item.add_marker(missing)


@pytest.fixture(scope="package")  # Playwright keeps an event loop in this thread as long as it runs
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@dataclass
class Watch:
    """What pages did that they should not. ``allowed`` are parts of messages that a test expects."""

    base: str = ""
    allowed: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)

    def over(self, page: Page) -> None:
        page.on("console", self._said)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._asked)

    def _said(self, message: ConsoleMessage) -> None:
        if message.type == "error" and not any(part in message.text for part in self.allowed):
            self.errors.append(f"{message.text} {message.location.get('url')}")

    def _asked(self, request: Request) -> None:
        if not request.url.startswith((f"{self.base}/", "data:", "blob:")):
            self.outside.append(request.url)


class Desk:
    """Opens watched pages."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self.watch = Watch()

    def open(self, url: str, **options: Any) -> Page:
        if not self._contexts or options:
            wanted = {"viewport": {"width": 1280, "height": 900}} | options
            self._contexts.append(self._browser.new_context(**wanted))
        page = self._contexts[-1].new_page()
        page.set_default_timeout(60_000)
        self.watch.base = "/".join(url.split("/")[:3])
        self.watch.over(page)
        page.goto(url)
        return page

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def desk(chromium: Browser) -> Iterator[Desk]:
    desk = Desk(chromium)
    yield desk
    desk.close()
    assert desk.watch.errors == []
    assert desk.watch.outside == []


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photo, 600x400."""
    import skimage.data
    from PIL import Image

    path = tmp_path_factory.mktemp("photo") / "coffee.png"
    Image.fromarray(skimage.data.coffee()).save(path)
    return path


def film(path: Path, photo: bytes | None, values: Mapping[str, Any]) -> bytes:
    """An MP4 by the kit's own encoder; its engine is a view that wanders over the photo."""
    import numpy as np
    from PIL import Image

    from services.video import encode
    from services.video.metadata import Metadata

    width, height, count = values["width"], values["height"], values["num_frames"]
    picture = Image.open(io.BytesIO(photo)) if photo else Image.effect_noise((640, 400), 60)
    scale = 1.2 * max(width / picture.width, height / picture.height)
    picture = picture.convert("RGB").resize((int(picture.width * scale), int(picture.height * scale)))
    lefts = [(picture.width - width) * number // count for number in range(count)]
    frames = (np.asarray(picture.crop((left, 0, left + width, height))) for left in lefts)
    encode.write(frames, path, fps=values["fps"], metadata=Metadata("demo", "0.1.0", dict(values)))
    return path.read_bytes()


def no_sideways_scroll(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))
