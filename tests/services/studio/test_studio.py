"""From a photo to a clip that plays, in a real browser; the front is real, the worker is a test's hand."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from services.front.settings import Settings
from tests.services.front.running import SVD, WAN, Front, running
from tests.services.studio import boots
from tests.services.studio.conftest import Desk, film, no_sideways_scroll
from tests.services.studio.pages import give_photo, playing
from tests.support.waiting import wait_for

pytestmark = pytest.mark.browser

BIG_SEED = str(2**63 - 5)  # more digits than a number of JavaScript holds


@pytest.fixture(scope="module")
def svd_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    yield from ready(tmp_path_factory.mktemp("svd"), SVD)


@pytest.fixture(scope="module")
def wan_front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    yield from ready(tmp_path_factory.mktemp("wan"), WAN)


@pytest.fixture
def svd(svd_front: Front) -> Front:
    return emptied(svd_front)


@pytest.fixture
def wan(wan_front: Front) -> Front:
    return emptied(wan_front)


def ready(data_dir: Path, model: dict[str, Any]) -> Iterator[Front]:
    """A front with the studio, and a worker that says again and again that it is ready."""
    with running(Settings(data_dir, service="ui")) as front:
        front.plan(model)
        front.boot(**boots.launched())
        over = threading.Event()

        def stay_ready() -> None:
            while not over.wait(4):
                front.worker.says("ready")

        says = threading.Thread(target=stay_ready)
        front.worker.says("ready")
        says.start()
        yield front
        over.set()
        says.join()


def emptied(front: Front) -> Front:
    for video in front.people.get("/v1/videos?limit=100").json()["data"]:
        front.people.delete(f"/v1/videos/{video['id']}")
    return front


def enter(front: Front, desk: Desk, **options: Any) -> Page:
    page = desk.open(f"{front.url}/?token={front.token}", **options)
    page.wait_for_url(f"{front.url}/studio/")
    expect(page.locator("#k-make")).to_be_visible()
    return page


def make(front: Front, **values: Any) -> str:
    """A clip made without the page; its id."""
    photo = film_frame()
    front.people.post(
        "/v1/videos", data=values, files={"input_reference": ("a.png", photo)}
    ).raise_for_status()
    return work(front)


def film_frame() -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.effect_noise((320, 200), 60).convert("RGB").save(file, "PNG")
    return file.getvalue()


def work(front: Front) -> str:
    """Do the next job, as a worker does."""
    job = front.worker.claimed()
    return finish(front, job)


def finish(front: Front, job: dict[str, Any]) -> str:
    photo = None
    if job["has_input"]:
        photo = front.worker.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]}).content
    values = job["values"]
    clip = film(front.data_dir / "made.mp4", photo, values)
    front.worker.put(job, clip).raise_for_status()
    front.worker.finish(job).raise_for_status()
    return str(job["id"])


def open_more(page: Page) -> None:
    """Gradio makes the controls inside when they are first opened; a person's hand is slower than that."""
    page.get_by_role("button", name="More control").click()
    page.wait_for_timeout(500)


def slider(page: Page, name: str) -> Locator:
    return page.get_by_label(f"number input for {name}")


def test_from_boot_page_to_a_clip_that_plays_and_stays(tmp_path: Path, desk: Desk, photo: Path) -> None:
    with running(Settings(tmp_path, service="ui", auth=False)) as front:
        front.boot(**boots.fetching(0.5))
        page = desk.open(front.url)
        expect(page.locator("#headline")).to_have_text("Downloading the model")
        front.plan(SVD)
        front.boot(**boots.launched())
        front.worker.says("ready")
        page.wait_for_url(f"{front.url}/studio/")
        expect(page.get_by_text("Your clip plays here")).to_be_visible()
        expect(page.get_by_text("Every clip you make is kept here")).to_be_visible()

        give_photo(page, photo)
        page.locator("#k-make").click()
        expect(page.get_by_text("Next in line")).to_be_visible()
        job = front.worker.claimed()
        assert job["values"]["motion_bucket_id"] == 127 and job["has_input"]
        front.worker.beat(job, progress=0.42, stage="sample", eta_seconds=12)
        expect(page.locator("#k-screen .k-screen")).to_contain_text("Making the frames")
        expect(page.locator("#k-screen .k-screen")).to_contain_text("42 % · about 15 s left")
        bar = page.get_by_role("progressbar", name="Progress of the clip")
        expect(bar).to_have_attribute("aria-valuenow", "42")

        page.reload()  # in the middle of it
        expect(page.locator("#k-screen .k-screen")).to_contain_text("42 % · about 15 s left")
        video_id = finish(front, job)
        playing(page)
        expect(page.locator(".k-about")).to_contain_text(f"seed {job['values']['seed']}")

        page.reload()
        expect(page.locator(".k-tile")).to_have_count(1)
        playing(page)
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        assert download.value.suggested_filename == f"{video_id}.mp4"
        assert download.value.path().read_bytes()[4:8] == b"ftyp"
        assert (
            page.locator(".k-tile img").evaluate("(image) => image.decode().then(() => image.naturalWidth)")
            > 0
        )


def test_settings_of_a_clip_fill_the_form_again(svd: Front, desk: Desk) -> None:
    asked = {
        "seed": BIG_SEED, "motion_bucket_id": 33, "fps": 12, "preset": "action", "size": "128x256",
        "noise_aug_strength": 0.3, "max_guidance_scale": 2.2,
    }  # fmt: skip
    make(svd, **asked)
    page = enter(svd, desk)
    page.locator(".k-tile").get_by_role("button", name="Reuse").click()
    expect(page.get_by_label("Seed")).to_have_value(BIG_SEED)
    expect(slider(page, "Motion")).to_have_value("33")
    expect(slider(page, "Frames a second")).to_have_value("12")
    expect(slider(page, "Freedom from the photo")).to_have_value("0.3")
    expect(page.locator("#k-photo img")).to_be_visible()
    page.locator("#k-make").click()
    again = svd.worker.claimed()["values"]
    assert again["seed"] == int(BIG_SEED) and again["motion_bucket_id"] == 33 and again["preset"] == "action"
    assert (again["width"], again["height"]) == (128, 256)
    assert again["max_guidance_scale"] == 2.2  # its slider had not even been opened
    open_more(page)
    expect(slider(page, "Guidance, last frame")).to_have_value("2.2")


def test_what_the_form_holds_is_what_is_asked_for(svd: Front, desk: Desk, photo: Path) -> None:
    page = enter(svd, desk)
    give_photo(page, photo)
    slider(page, "Motion").fill("77")
    slider(page, "Motion").press("Tab")
    slider(page, "Frames a second").fill("14")
    slider(page, "Frames a second").press("Tab")
    expect(page.locator("#k-make")).to_have_text("Make the clip, 1.0 s")
    page.get_by_label("25", exact=True).check()
    page.get_by_label("Seed").fill("7")
    page.keyboard.press("Control+Enter")
    values = svd.worker.claimed()["values"]
    found = {name: values[name] for name in ("motion_bucket_id", "fps", "num_frames", "seed")}
    assert found == {"motion_bucket_id": 77, "fps": 14, "num_frames": 25, "seed": 7}


def test_a_preset_moves_the_sliders_and_none_moves_them_back(svd: Front, desk: Desk) -> None:
    page = enter(svd, desk)
    page.get_by_label("Preset").click()
    page.get_by_role("option", name="Action: sport").click()
    expect(slider(page, "Motion")).to_have_value("180")
    expect(slider(page, "Frames a second")).to_have_value("12")
    page.get_by_label("Preset").click()
    page.get_by_role("option", name="None").click()
    expect(slider(page, "Motion")).to_have_value("127")


def test_a_clip_under_way_can_be_cancelled(svd: Front, desk: Desk, photo: Path) -> None:
    page = enter(svd, desk)
    give_photo(page, photo)
    page.locator("#k-make").click()
    job = svd.worker.claimed()
    page.locator("#k-screen").get_by_role("button", name="Cancel").click()
    expect(page.locator("#k-screen .k-screen")).to_contain_text("Cancelling")
    assert svd.worker.beat(job, progress=0.5).json() == {"cancel": True}
    svd.worker.finish(job, "cancelled")
    expect(page.locator("#k-screen .k-screen")).to_have_text("Cancelled")


def test_a_failed_clip_says_why_and_what_to_do(svd: Front, desk: Desk, photo: Path) -> None:
    page = enter(svd, desk)
    give_photo(page, photo)
    page.locator("#k-make").click()
    job = svd.worker.claimed()
    problem = "21.3 GiB were needed, 15.9 GiB are free\n  fix: ask for fewer frames"
    svd.worker.finish(job, "failed", error={"code": "out_of_memory", "message": problem})
    expect(page.locator("#k-screen .k-screen")).to_contain_text("This clip failed")
    expect(page.locator("#k-screen .k-screen")).to_contain_text("21.3 GiB were needed, 15.9 GiB are free")
    expect(page.locator("#k-screen .k-screen")).to_contain_text("Ask for fewer frames")


def test_a_refused_request_shows_problem_and_fix_beside_the_button(
    svd: Front, desk: Desk, photo: Path
) -> None:
    desk.watch.allowed += ["400"]
    page = enter(svd, desk)
    page.locator("#k-make").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no photo yet.")
    give_photo(page, photo)
    open_more(page)
    page.get_by_label("Width", exact=True).fill("100")
    page.get_by_label("Width", exact=True).press("Tab")
    page.locator("#k-make").click()
    expect(page.get_by_role("alert")).to_contain_text("Height is missing")
    expect(page.locator("#k-wrong .k-fix")).not_to_be_empty()
    expect(page.locator(".k-tile")).to_have_count(0)


def test_warnings_stand_under_the_clip(svd: Front, desk: Desk) -> None:
    make(svd, motion_bucket_id=230)
    page = enter(svd, desk)
    expect(page.get_by_role("note")).to_contain_text("Motion 230 is above 200")


def test_deleting_asks_once_more_and_then_the_clip_is_gone(svd: Front, desk: Desk) -> None:
    make(svd)
    page = enter(svd, desk)
    delete = page.locator(".k-tile").get_by_role("button", name="Delete")
    delete.click()
    page.locator(".k-tile").get_by_role("button", name="Sure?").click()
    expect(page.locator(".k-tile")).to_have_count(0)
    expect(page.get_by_text("Your clip plays here")).to_be_visible()
    assert svd.people.get("/v1/videos").json()["data"] == []


def test_older_clips_come_on_demand(svd: Front, desk: Desk) -> None:
    ids: list[str] = []
    for number in range(26):
        photo = {"input_reference": ("a.png", film_frame())}
        if number >= 5:  # the queue of this front takes so many at once
            svd.people.post(f"/v1/videos/{ids[number - 5]}/cancel")
        answer = svd.people.post("/v1/videos", data={"seed": number}, files=photo)
        ids.append(answer.raise_for_status().json()["id"])
    page = enter(svd, desk)
    expect(page.locator(".k-tile")).to_have_count(24)
    page.get_by_role("button", name="Show older clips").click()
    expect(page.locator(".k-tile")).to_have_count(26)
    expect(page.get_by_role("button", name="Show older clips")).to_be_hidden()
    page.wait_for_timeout(2500)  # two more looks at the newest page lose nothing
    expect(page.locator(".k-tile")).to_have_count(26)


def test_a_clip_asked_for_elsewhere_appears_by_itself(svd: Front, desk: Desk) -> None:
    page = enter(svd, desk)
    expect(page.locator(".k-tile")).to_have_count(0)
    make(svd)
    expect(page.locator(".k-tile")).to_have_count(1)
    playing(page)


def test_a_pasted_photo_lands_in_the_form(svd: Front, desk: Desk) -> None:
    page = enter(svd, desk)
    page.evaluate("""async () => {
      const canvas = Object.assign(document.createElement("canvas"), { width: 300, height: 200 });
      const blob = await new Promise((done) => canvas.toBlob(done));
      const clipboardData = new DataTransfer();
      clipboardData.items.add(new File([blob], "shot.png", { type: "image/png" }));
      document.dispatchEvent(new ClipboardEvent("paste", { clipboardData, bubbles: true, cancelable: true }));
    }""")
    expect(page.locator("#k-photo img")).to_be_visible()
    page.locator("#k-make").click()
    assert svd.worker.claimed()["has_input"]


def test_a_prompt_makes_a_clip_where_the_model_reads_one(wan: Front, desk: Desk) -> None:
    page = enter(wan, desk)
    expect(page.locator("#k-photo")).to_have_count(0)
    page.locator("#k-make").click()
    expect(page.get_by_role("alert")).to_contain_text("There is no prompt yet.")
    page.get_by_label("What to show.").fill("a paper boat on a pond <b>at dawn</b>")
    page.get_by_label("Size").click()
    page.get_by_role("option", name="480 × 832, portrait").click()
    page.locator("#k-make").click()
    job = wan.worker.claimed()
    assert job["values"]["prompt"] == "a paper boat on a pond <b>at dawn</b>"
    assert (job["values"]["width"], job["values"]["height"]) == (480, 832)
    wan.worker.finish(job, "cancelled")
    expect(page.locator(".k-tile-title")).to_have_text("a paper boat on a pond <b>at dawn</b>")


def test_without_the_loras_the_form_shows_the_steps_that_are_then_needed(wan: Front, desk: Desk) -> None:
    page = enter(wan, desk)
    open_more(page)
    page.get_by_label("4-step LoRAs").uncheck()
    expect(slider(page, "Steps")).to_have_value("20")
    expect(slider(page, "Guidance scale")).to_have_value("3.5")
    page.get_by_label("4-step LoRAs").check()
    expect(slider(page, "Steps")).to_have_value("4")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_narrow_phone_never_scrolls_sideways(svd: Front, desk: Desk, scheme: str) -> None:
    make(svd, motion_bucket_id=230)
    page = enter(svd, desk, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    expect(page.locator(".k-tile")).to_have_count(1)
    open_more(page)
    page.locator(".k-about summary").click()
    assert no_sideways_scroll(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_its_background(svd: Front, desk: Desk, scheme: str) -> None:
    make(svd, motion_bucket_id=230)
    page = enter(svd, desk, color_scheme=scheme)
    expect(page.get_by_role("note")).to_be_visible()
    page.locator(".k-about summary").click()
    assert page.evaluate((Path(__file__).parent / "contrast.js").read_text()) == []


def test_a_machine_that_shuts_down_says_so_in_the_studio(svd: Front, desk: Desk) -> None:
    page = enter(svd, desk)
    svd.boot(**(boots.launched() | {"state": "stopping"}))
    try:
        expect(page.get_by_text("This machine is shutting down.")).to_be_visible(timeout=25_000)
    finally:
        svd.boot(**boots.launched())
    expect(page.get_by_text("This machine is shutting down.")).to_be_hidden(timeout=25_000)


def test_clips_survive_a_restart_of_the_front(tmp_path: Path, desk: Desk) -> None:
    for visit in range(2):
        with running(Settings(tmp_path, service="ui")) as front:
            front.plan(SVD)
            front.boot(**boots.launched())
            front.worker.says("ready")
            if visit == 0:
                make(front)
                continue
            page = enter(front, desk)
            expect(page.locator(".k-tile")).to_have_count(1)
            playing(page)


def test_a_studio_that_cannot_start_leaves_the_api_and_says_so(tmp_path: Path, desk: Desk) -> None:
    with running(Settings(tmp_path, service="ui", auth=False)) as front:
        front.plan(SVD | {"defaults": {}})  # no size: nothing to offer
        front.boot(**boots.launched())
        front.worker.says("ready")
        page = desk.open(front.url)
        expect(page.get_by_text("The studio could not be started; the API works.")).to_be_visible(
            timeout=20_000
        )
        expect(page.get_by_role("button", name="Copy: Ask for a clip")).to_be_visible()


def test_the_page_asks_no_host_that_a_proxy_made_up(svd: Front) -> None:
    page = svd.people.get("/studio/", headers={"Host": "inner.example", "Accept": "text/html"})
    assert page.status_code == 200 and "location.origin" in page.text
    assert "inner.example" not in page.text and "kinokit.invalid" not in page.text


def test_the_studio_needs_the_token_too(svd: Front) -> None:
    for path in ("/studio/", "/studio/config", "/studio/gradio_api/info", "/studio/assets/"):
        answer = svd.anybody.get(path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_token")


def test_a_clip_that_is_opened_by_itself_plays(svd: Front, desk: Desk) -> None:
    """Its answer forbids everything but to be shown."""
    name = make(svd)
    page = desk.open(f"{svd.url}/v1/videos/{name}/content?token={svd.token}")
    expect(page.locator("video")).to_be_visible()
    wait_for(lambda: page.locator("video").evaluate("video => video.readyState") >= 2)
