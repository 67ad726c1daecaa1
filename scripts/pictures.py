"""Makes the documentation's pictures, in docs/pictures; each takes a minute or two on two cores.

studio: starts the kit with the demo model and makes clips in a browser. Needs what the tests need
(make install-dev) and Debian's chromium.
demo-wan-contact-sheet: eight prompts and five frames of the clip that each becomes.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from bootstrap.choose import reading
from bootstrap.choose.manifest import MANIFEST_FOLDER
from bootstrap.choose.plan import Plan
from bootstrap.choose.profile import Choice
from services.engines import wan
from services.engines.base import Start
from services.parameters.values import Values

ROOT = Path(__file__).resolve().parent.parent
PHOTOS: tuple[Callable[[], NDArray[np.uint8]], ...] = (
    skimage.data.rocket,
    skimage.data.astronaut,
    skimage.data.chelsea,
    skimage.data.coffee,
)
PROMPTS = (
    "a red circle moving right",
    "a green square moving left",
    "a blue triangle moving up",
    "a yellow circle moving down",
    "a magenta square moving right",
    "a cyan triangle moving left",
    "an orange circle moving up",
    "a white square moving down",
)
SHAPE = 7 / 4  # of the demo model's clips: nothing is cut off
READY_SECONDS = 300
CLIP_SECONDS = 300
MOST_BYTES = 300_000


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pictures", nargs="*", default=["studio", "demo-wan-contact-sheet"])
    parser.add_argument("--model", default="demo", help="that the studio runs")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "pictures")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    for name in asked.pictures:
        target = asked.out / f"{name}.png"
        if name == "studio":
            studio(asked.model, target)
        elif name == "demo-wan-contact-sheet":
            contact_sheet(target)
        else:
            parser.error(f"there is no picture {name}")
        shrink(target)
        print(f"{target}: {target.stat().st_size} bytes")


def contact_sheet(target: Path) -> None:
    """A row for each prompt, in two columns; the seeds are 0 to 7."""
    manifest = reading.load("demo-wan")
    profile = next(profile for profile in manifest.profiles if profile.needs.device == "cpu")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        files = MANIFEST_FOLDER / "demo-wan"
        choice = Choice(profile, (), ())
        plan = Plan.build(manifest, choice, files=files, data_dir=Path(folder), threads=2)
        engine = wan.load(plan, Start(lambda *_: None))
        for seed, prompt in enumerate(PROMPTS):
            values = {**plan.defaults, "prompt": prompt, "width": 128, "height": 128, "seed": seed}
            frames = list(engine.generate(Values.of(values), None, lambda *_: None, lambda: False))
            rows.append(np.concatenate(frames[::4], axis=1))
    half = len(rows) // 2
    columns = [np.concatenate(rows[:half]), np.concatenate(rows[half:])]
    Image.fromarray(np.concatenate(columns, axis=1)).save(target)


def studio(model: str, target: Path) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        kit(model, Path(folder)) as url,
        sync_playwright() as driver,
    ):
        arguments = ["--no-sandbox", "--disable-gpu"]
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 860})
        take(page, url, Path(folder), target)
        browser.close()


@contextmanager
def kit(model: str, folder: Path) -> Iterator[str]:
    """The kit with its studio on a free port, ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "services.cli", "up", "--model", model, "--service", "ui"]
    where = ["--host", "127.0.0.1", "--port", str(port), "--data-dir", str(folder / "data")]
    process = subprocess.Popen([*command, *where], cwd=ROOT, start_new_session=True)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/readyz", process)
        yield f"http://127.0.0.1:{port}/"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(30)


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310
            return
        except OSError:
            time.sleep(1)
    raise SystemExit("the kit did not get ready")


def take(page: Page, url: str, folder: Path, target: Path) -> None:
    page.goto(url)
    for photo in PHOTOS:
        path = folder / f"{photo.__name__}.png"
        cropped(Image.fromarray(photo())).save(path)
        make_clip(page, path)
    page.mouse.move(0, 0)
    # Still and in its middle: the same picture each time, without the player's controls.
    page.locator("#k-screen video").evaluate(
        "(clip) => { clip.controls = false; clip.pause(); clip.currentTime = clip.duration / 2; }"
    )
    page.wait_for_timeout(1500)
    page.screenshot(path=target)


def cropped(picture: Image.Image) -> Image.Image:
    height = min(picture.height, round(picture.width / SHAPE))
    width = round(height * SHAPE)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def make_clip(page: Page, photo: Path) -> None:
    page.locator("#k-make").wait_for(timeout=60_000)
    before = page.locator(".k-tile").count()
    clear = page.get_by_label("Clear")
    if clear.count():
        clear.first.click()
    page.set_input_files("#k-photo input[type=file]", photo)
    expect(page.locator("#k-photo img")).to_be_visible(timeout=30_000)
    page.locator("#k-make").click()
    expect(page.locator(".k-tile")).to_have_count(before + 1, timeout=30_000)
    expect(page.locator(".k-tile[data-status=completed]")).to_have_count(
        before + 1, timeout=CLIP_SECONDS * 1000
    )
    expect(page.locator("#k-screen video")).to_be_visible()


def shrink(picture: Path) -> None:
    for colours in (256, 128, 64):
        if picture.stat().st_size <= MOST_BYTES:
            return
        with Image.open(picture) as image:
            image.convert("RGB").quantize(colours, dither=Image.Dither.FLOYDSTEINBERG).save(
                picture, optimize=True
            )


if __name__ == "__main__":
    main()
