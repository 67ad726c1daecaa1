"""Reading costs what changed: tags and 304, one look for all streams, places and estimates everywhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from email.utils import formatdate, parsedate_to_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.services.front.test_events import read

DEADLINE_SECONDS = 60


def ask(front: Front, **fields: Any) -> str:
    answer = front.people.post("/v1/videos", json={"prompt": "a cat", **fields})
    answer.raise_for_status()
    return str(answer.json()["id"])


def within(seconds: float, holds: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < until, "it never came true"
        time.sleep(0.02)


def test_who_has_the_video_or_the_list_is_not_sent_it_again(wan: Front) -> None:
    name = ask(wan)
    for path in (f"/v1/videos/{name}", "/v1/videos", "/v1/videos?limit=1"):
        first = wan.people.get(path)
        known = {"If-None-Match": f'"other", {first.headers["etag"]}'}
        again = wan.people.get(path, headers=known)
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        assert again.headers["etag"] == first.headers["etag"]
        assert again.headers.get("openai-poll-after-ms") == first.headers.get("openai-poll-after-ms")
    before = {path: wan.people.get(path).headers["etag"] for path in (f"/v1/videos/{name}", "/v1/videos")}
    wan.worker.claimed()
    for path, tag in before.items():
        changed = wan.people.get(path, headers={"If-None-Match": tag})
        assert changed.status_code == 200 and changed.headers["etag"] != tag


def test_an_estimate_that_counts_down_is_no_change(wan: Front) -> None:
    name = ask(wan)
    job = wan.worker.claimed()
    wan.worker.beat(job, progress=0.5, eta_seconds=10_000)
    first = wan.people.get(f"/v1/videos/{name}")
    within(DEADLINE_SECONDS, lambda: wan.people.get(f"/v1/videos/{name}").json()["eta_seconds"] < 9_999.5)
    known = {"If-None-Match": first.headers["etag"]}
    assert wan.people.get(f"/v1/videos/{name}", headers=known).status_code == 304
    wan.worker.beat(job, progress=0.5, eta_seconds=100)
    assert wan.people.get(f"/v1/videos/{name}", headers=known).status_code == 200


def test_a_clip_that_did_not_change_since_is_not_sent_again(wan: Front, clip: bytes) -> None:
    ask(wan)
    path = f"/v1/videos/{wan.worker.make(clip)}/content"
    first = wan.people.get(path)
    modified = parsedate_to_datetime(first.headers["last-modified"]).timestamp()

    def status(**headers: str) -> int:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return wan.people.get(path, headers=named).status_code

    assert status(If_Modified_Since=first.headers["last-modified"]) == 304
    assert status(If_Modified_Since=formatdate(modified + 3600, usegmt=True)) == 304
    assert status(If_Modified_Since=formatdate(modified - 3600, usegmt=True)) == 200
    assert status(If_Modified_Since="yesterday") == 200
    both = {"If_None_Match": '"another"', "If_Modified_Since": first.headers["last-modified"]}
    assert status(**both) == 200  # a tag decides alone


def test_head_tells_what_get_would(wan: Front, clip: bytes) -> None:
    name = ask(wan)
    for path in (f"/v1/videos/{name}", "/v1/videos", "/v1/models", f"/v1/models/{WAN['model']}", "/status"):
        got, headed = wan.people.get(path), wan.people.head(path)
        assert (headed.status_code, headed.content) == (200, b""), path
        assert headed.headers["content-type"] == got.headers["content-type"]
        assert headed.headers.get("etag") == got.headers.get("etag")
    assert wan.people.head("/v1/videos/video_0").status_code == 404


def test_a_list_shows_places_and_estimates_as_one_video_does(wan: Front, clip: bytes) -> None:
    ask(wan)
    wan.worker.make(clip)
    names = [ask(wan) for _ in range(3)]
    listed = {video["id"]: video for video in wan.people.get("/v1/videos").json()["data"]}
    assert [listed[name]["queue_position"] for name in names] == [1, 2, 3]
    for name in names:
        alone = wan.people.get(f"/v1/videos/{name}").json()
        assert alone["queue_position"] == listed[name]["queue_position"]
        assert alone["eta_seconds"] is not None and listed[name]["eta_seconds"] is not None


def test_the_estimate_of_one_that_waits_counts_the_one_that_runs(wan: Front, clip: bytes) -> None:
    ask(wan)
    wan.worker.make(clip)
    ask(wan)
    running, waits = wan.worker.claimed(), ask(wan)
    wan.worker.beat(running, progress=0.99, eta_seconds=600)

    def eta() -> float:
        return float(wan.people.get(f"/v1/videos/{waits}").json()["eta_seconds"])

    within(DEADLINE_SECONDS, lambda: eta() > 500)
    said = eta()
    within(DEADLINE_SECONDS, lambda: eta() < said - 1)


def test_a_client_that_comes_back_is_not_told_the_same_again(wan: Front, clip: bytes) -> None:
    name = ask(wan)
    path = f"/v1/videos/{name}/events"

    def first_block(last: str | None) -> dict[str, str]:
        headers = {"Last-Event-ID": last} if last else {}
        with wan.people.stream("GET", path, headers=headers) as answer:
            lines = answer.iter_lines()
            assert int(next(lines).removeprefix("retry: ")) >= 1000
            next(lines)
            if last:
                wan.worker.claimed()  # the next news
            block = iter(lambda: next(lines), "")
            return dict(line.split(": ", 1) for line in block)

    first = first_block(None)
    assert first["event"] == "video" and '"status":"queued"' in first["data"]
    second = first_block(first["id"])
    assert second["id"] != first["id"] and '"status":"in_progress"' in second["data"]


def test_a_client_that_has_the_end_is_told_to_stay_away(wan: Front, clip: bytes) -> None:
    ask(wan)
    path = f"/v1/videos/{wan.worker.make(clip)}/events"
    lines = wan.people.get(path).text.splitlines()
    last = next(line.removeprefix("id: ") for line in lines if line.startswith("id: "))
    assert wan.people.get(path, headers={"Last-Event-ID": last}).status_code == 204
    assert [kind for kind, _ in read(wan.people.get(path, headers={"Last-Event-ID": "old"}))] == ["done"]


# -- many streams ------------------------------------------------------------------------------------

STREAMS = 50


class Told:
    """What the streams were told last, by video."""

    def __init__(self, front: Front, names: list[str]) -> None:
        self.last: dict[str, dict[str, Any]] = {}
        self.ended = 0
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._follow, args=(front, name)) for name in names]
        for thread in self._threads:
            thread.start()

    def _follow(self, front: Front, name: str) -> None:
        with front.people.stream("GET", f"/v1/videos/{name}/events", timeout=DEADLINE_SECONDS) as answer:
            for kind, video in read(answer):
                if kind in ("video", "done"):
                    self.last[name] = video
        with self._lock:
            self.ended += 1

    def join(self) -> None:
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)


@contextmanager
def statements() -> Iterator[list[str]]:
    """All reads of the queue's database meanwhile."""
    seen: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if statement.startswith("SELECT"):
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(Engine, "before_cursor_execute", note)


@pytest.fixture
def busy(tmp_path: Path) -> Iterator[Front]:
    """A front with a long line."""
    with running(Settings(tmp_path, max_queued=1000)) as front:
        front.plan(WAN)
        many = httpx.Limits(max_connections=None)
        with httpx.Client(
            base_url=front.url, headers=front.people.headers, timeout=DEADLINE_SECONDS, limits=many
        ) as front.people:
            yield front


def test_many_streams_cost_one_look_at_a_time(busy: Front, clip: bytes) -> None:
    names = [ask(busy) for _ in range(STREAMS)]
    told = Told(busy, names)
    within(DEADLINE_SECONDS, lambda: len(told.last) == STREAMS)
    job = busy.worker.claimed()
    within(DEADLINE_SECONDS, lambda: told.last[job["id"]]["status"] == "in_progress")
    within(DEADLINE_SECONDS, lambda: told.last[names[-1]]["queue_position"] == STREAMS - 1)
    with statements() as seen:
        began = time.monotonic()
        for step in range(1, 11):
            busy.worker.beat(job, progress=step / 20)
            within(DEADLINE_SECONDS, lambda: told.last[job["id"]]["progress"] == step * 5)  # noqa: B023
        seconds = time.monotonic() - began
    # A beat: its own row, read by the verb and by the watch. A second: one look at all rows and at the line.
    assert len(seen) <= 10 * 4 + (seconds + 1) * 8
    for name in names[1:]:
        busy.people.post(f"/v1/videos/{name}/cancel").raise_for_status()
    busy.worker.put(job, clip).raise_for_status()
    busy.worker.finish(job).raise_for_status()
    told.join()
    assert told.ended == STREAMS
    assert {told.last[name]["status"] for name in names} == {"completed", "failed"}


def test_nobody_watches_nothing_is_looked_at(wan: Front) -> None:
    name = ask(wan)
    with wan.people.stream("GET", f"/v1/videos/{name}/events") as answer:
        next(read(answer))
    wan.people.delete(f"/v1/videos/{name}")
    quiet = threading.Event()
    with statements() as seen:
        quiet.wait(2.5)  # longer than two looks
    assert not [each for each in seen if "jobs.id" in each]


def test_the_front_ends_well_beside_open_streams(tmp_path: Path) -> None:
    with httpx.Client(timeout=DEADLINE_SECONDS) as client, ExitStack() as streams:
        with running(Settings(tmp_path)) as front:
            front.plan(WAN)
            url = f"{front.url}/v1/videos/{ask(front)}/events"
            told = read(streams.enter_context(client.stream("GET", url, headers=front.people.headers)))
            next(told)
        assert list(told) == []  # to its end, with no half event


@pytest.mark.alone
def test_a_small_answer_does_not_wait_until_the_client_acknowledges_its_headers(wan: Front) -> None:
    name, taken = ask(wan), []
    for _ in range(60):  # the kernel acknowledges the first ones of a connection at once
        began = time.perf_counter()
        wan.people.get(f"/v1/videos/{name}").raise_for_status()
        taken.append(time.perf_counter() - began)
    assert sorted(taken)[len(taken) // 2] < 0.035  # it would be 0.04 and more
