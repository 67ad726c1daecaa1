"""What a visitor sees from the first second on, in a real browser, served by the real front."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from bootstrap import data_directory
from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.services.studio import boots
from tests.services.studio.conftest import Desk, no_sideways_scroll

pytestmark = pytest.mark.browser
CONTRAST = Path(__file__).parent / "contrast.js"


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with running(Settings(tmp_path, auth=False)) as found:
        yield found


def show(front: Front, document: dict[str, Any]) -> None:
    front.boot(**document)


def step(page: Page, words: str) -> Any:
    return page.locator("#steps li", has_text=words)


def test_the_page_is_there_before_anything_is_known(front: Front, desk: Desk) -> None:
    page = desk.open(front.url)
    expect(page.locator("#headline")).to_have_text("Starting")


def test_a_download_shows_bytes_rate_time_left_and_files(front: Front, desk: Desk) -> None:
    show(front, boots.fetching(0.2))
    page = desk.open(front.url)
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    expect(page.locator("#subline")).to_have_text("52 % · 18 GB of 35 GB · 310 MB/s · about 55 s left")
    expect(page.get_by_role("progressbar", name="Downloading the model")).to_have_attribute(
        "aria-valuenow", "52"
    )
    expect(step(page, "Looked at this machine")).to_contain_text("NVIDIA H200, 139 GiB free")
    expect(page.locator("#files-title")).to_have_text("Files: 1 of 3 done")
    expect(page.get_by_role("progressbar", name="umt5_xxl")).to_have_attribute("aria-valuenow", "20")
    assert page.title() == "52 % · Downloading the model · kinokit"


def test_the_idle_stop_is_announced_and_a_click_puts_it_off(front: Front, desk: Desk) -> None:
    show(front, boots.launched(idle_stop_at=1_790_000_000.0))
    page = desk.open(front.url)
    expect(page.locator("#idle-stop")).to_contain_text("Nobody uses this machine. It stops at")
    with page.expect_response("**/stay") as answer:
        page.get_by_role("button", name="Keep it for an hour").click()
    assert answer.value.status == 204
    unused = front.anybody.get("/status", headers={"X-Kinokit-Unattended": "1"}).json()["unused_seconds"]
    assert unused < -3500


def test_the_page_follows_without_being_reloaded(front: Front, desk: Desk) -> None:
    show(front, boots.fetching(0.2))
    page = desk.open(front.url)
    expect(page.locator("#subline")).to_contain_text("52 %")
    show(front, boots.fetching(0.6))
    expect(page.locator("#subline")).to_contain_text("76 %")
    show(front, boots.launched())
    front.worker.says("loading", detail="text encoder", progress=0.4)
    expect(page.locator("#headline")).to_have_text("Loading the model into memory")
    expect(step(page, "Model downloaded and checked")).to_have_class("done")
    expect(page.locator("#subline")).to_have_text("40 %")


def test_a_failed_start_says_what_is_wrong_what_to_do_and_what_it_costs(front: Front, desk: Desk) -> None:
    show(front, boots.failed())
    page = desk.open(front.url)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("The disk is full: 35 GB are needed, 12.1 GB are free.")
    expect(alert).to_contain_text("Rent a machine with at least 60 GB of disk")
    expect(alert).to_contain_text("costing $2.39 an hour, $57.36 a day, until you stop it on Vast.ai")
    expect(step(page, "Downloading the model")).to_have_class("failed")
    expect(page.locator("#bar")).to_be_hidden()


def test_a_refusal_keeps_its_lines(front: Front, desk: Desk) -> None:
    lines = ["wan22 needs a GPU; this machine has none", "  found   2 CPU cores", "  costs about  $0.2"]
    problem = "\n".join([*lines, "               rough"])
    failure = {"problem": problem, "fix": "rent a GPU", "phase": "choose"}
    show(front, boots.boot("failed", failure=failure))
    page = desk.open(front.url, viewport={"width": 360, "height": 740})
    expect(page.locator("#problem")).to_have_text("wan22 needs a GPU; this machine has none")
    expect(page.locator("#details dt")).to_have_text(["found", "costs about"])
    assert page.locator("#details dd").all_inner_texts() == ["2 CPU cores", "$0.2\nrough"]
    assert no_sideways_scroll(page)


def test_the_timeline_is_a_waterfall_with_prediction_against_fact(front: Front, desk: Desk) -> None:
    show(front, boots.timed("loading"))
    page = desk.open(front.url, viewport={"width": 390, "height": 800})
    expect(page.locator("#timeline-title")).to_contain_text("Timeline: 5 parts in")
    expect(page.locator("#spans li").first).to_be_hidden()
    page.locator("#timeline-title").click()
    rows = page.locator("#spans li")
    expect(rows).to_have_count(5)
    expect(rows.nth(2)).to_contain_text("40.0 s · 14 GB · 350 MB/s")
    expect(rows.nth(4)).to_have_class("running")
    fetch, imports = (rows.nth(each).locator("i").bounding_box() for each in (1, 3))
    assert fetch is not None
    assert imports is not None
    assert fetch["x"] < imports["x"]
    assert imports["x"] + imports["width"] < fetch["x"] + fetch["width"]
    said = "download 38.0 s, was 40.0 s; load 4.0 s; ready 44.0 s"
    expect(page.locator("#predicted")).to_contain_text(said)
    no_sideways_scroll(page)


def test_a_missing_token_is_asked_for_and_handed_over(front: Front, desk: Desk) -> None:
    asks = {"problem": "a/b is gated", "fix": "accept it", "page": "https://hub.example/a/b", "host": ""}
    show(front, boots.fetching(0.1) | {"asks": asks})
    page = desk.open(front.url, viewport={"width": 390, "height": 800})
    expect(page.locator("#asks")).to_contain_text("a/b is gated")
    expect(page.locator("#asks")).to_contain_text("Accept the licence and make a read token at https://hub")
    expect(page.get_by_role("link", name="https://hub.example/a/b")).to_be_visible()
    field = page.get_by_label("Token")
    field.fill("hf_typ3d")
    with page.expect_response("**/hub-token") as answer:
        page.get_by_role("button", name="Go on").click()
    assert answer.value.status == 204
    assert (front.data_dir / data_directory.TYPED_BY_VISITOR).read_text() == "hf_typ3d"
    expect(field).to_have_value("")
    assert no_sideways_scroll(page)
    show(front, boots.fetching(0.2) | {"asks": None})
    expect(page.locator("#asks")).to_be_hidden()


def test_findings_come_with_their_fix(front: Front, desk: Desk) -> None:
    finding = {"code": "slow_disk", "problem": "This disk writes 90 MB/s.", "fix": "Rent one with NVMe."}
    show(front, boots.fetching(0.1) | {"findings": [finding]})
    page = desk.open(front.url)
    expect(page.locator("#findings")).to_contain_text("This disk writes 90 MB/s.")
    expect(page.locator("#findings")).to_contain_text("Rent one with NVMe.")


def test_markup_in_a_message_stays_text(front: Front, desk: Desk) -> None:
    finding = {"code": "x", "problem": "<img src=x onerror=alert(1)>", "fix": "<b>none</b>"}
    show(front, boots.fetching(0.1) | {"findings": [finding]})
    page = desk.open(front.url)
    expect(page.locator("#findings")).to_contain_text("<img src=x onerror=alert(1)>")
    assert page.locator("#findings img, #findings b").count() == 0


def test_a_lost_connection_is_said_and_taken_back(front: Front, desk: Desk) -> None:
    desk.watch.allowed += ["ERR_FAILED"]
    show(front, boots.fetching(0.2))
    page = desk.open(front.url)
    expect(page.locator("#subline")).to_contain_text("52 %")
    page.route("**/status", lambda route: route.abort())
    expect(page.locator("#lost")).to_contain_text("No answer from the machine")
    expect(page.locator("#subline")).to_contain_text("52 %")  # what was known stays
    page.unroute("**/status")
    expect(page.locator("#lost")).to_be_hidden()


def test_the_api_service_ends_on_a_page_with_lines_to_copy(front: Front, desk: Desk) -> None:
    front.plan(WAN)
    show(front, boots.launched(service="api"))
    front.worker.says("ready")
    page = desk.open(front.url, permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#headline")).to_have_text("Ready")
    page.get_by_role("button", name="Copy: Ask for a clip").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.startswith('curl -H "Authorization: Bearer $KINOKIT_TOKEN"')
    assert copied.endswith(f'-F prompt="a paper boat on a pond" {front.url}/v1/videos')
    assert "input_reference" not in copied  # this model reads text only
    for link in page.locator("#ready a").all():
        assert page.request.get(f"{front.url}/{link.get_attribute('href')}").ok


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("document", [boots.fetching(0.5), boots.failed()], ids=["running", "failed"])
def test_a_narrow_phone_never_scrolls_sideways(
    front: Front, desk: Desk, document: dict[str, Any], scheme: str
) -> None:
    show(front, document)
    page = desk.open(front.url, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page.locator("#facts")).to_contain_text("NVIDIA H200")
    assert no_sideways_scroll(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_background(front: Front, desk: Desk, scheme: str) -> None:
    show(front, boots.failed() | {"findings": [{"code": "x", "problem": "A finding.", "fix": "A fix."}]})
    page = desk.open(front.url, color_scheme=scheme)
    expect(page.locator("#problem")).to_contain_text("disk is full")
    assert page.evaluate(CONTRAST.read_text()) == []
