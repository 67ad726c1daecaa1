"""Who asked to be told is told: signed, at least once, and whatever happens to the box meanwhile."""

from __future__ import annotations

import json
import logging
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.support.answering import Asked, serving
from tests.support.ports import free_port
from tests.support.waiting import wait_for

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Receiver:
    """What arrived, and what is answered to it: the n-th status to the n-th message, then the last one."""

    def __init__(self) -> None:
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.times: list[float] = []
        self.statuses = [200]
        self.headers: dict[str, str] = {}
        self.url = ""

    def answer(self, asked: Asked) -> None:
        body = asked.rfile.read(int(asked.headers["content-length"]))
        self.times.append(time.monotonic())
        self.seen.append(({name.lower(): value for name, value in asked.headers.items()}, body))
        status = self.statuses[min(len(self.seen), len(self.statuses)) - 1]
        asked.reply(status, b"", **self.headers)

    def told(self, count: int = 1) -> list[dict[str, Any]]:
        wait_for(lambda: len(self.seen) >= count)
        return [json.loads(body) for _, body in self.seen]

    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers, _ in self.seen]


@contextmanager
def receiving() -> Iterator[Receiver]:
    made = Receiver()
    with serving(made.answer) as url:
        made.url = f"{url}/told?key=s3cret"
        yield made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


def settings(folder: Path, **more: Any) -> Settings:
    quick = {
        "webhook_pause_seconds": 0.05,
        "webhook_secret": SECRET,
        "private_hosts": ("127.0.0.1", "127.0.0.2"),
    }
    return Settings(folder, **{**quick, **more})


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with running(settings(tmp_path_factory.mktemp("front"))) as found:
        found.plan(WAN)
        yield found


def asked(front: Front, receiver: Receiver | None = None, **more: Any) -> str:
    told = {} if receiver is None else {"webhook_url": receiver.url}
    answer = front.people.post("/v1/videos", json={"prompt": "a boat", **told, **more})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def webhook(front: Front, video: str) -> dict[str, Any]:
    found: dict[str, Any] = front.people.get(f"/v1/videos/{video}").json()["webhook"]
    return found


def delivered(front: Front, video: str) -> dict[str, Any]:
    wait_for(lambda: webhook(front, video)["state"] == "delivered")
    return webhook(front, video)


def test_openais_own_client_unwraps_what_is_sent_and_refuses_what_was_changed(
    front: Front, receiver: Receiver, clip: bytes
) -> None:
    video = asked(front, receiver)
    assert front.worker.make(clip) == video
    receiver.told()
    [(headers, body)] = receiver.seen
    client = openai.OpenAI(api_key="unused", webhook_secret=SECRET)
    event = client.webhooks.unwrap(body, headers)
    assert (event.type, event.object) == ("video.completed", "event")
    assert event.data.id == video  # type: ignore[union-attr]
    assert headers["webhook-id"] == event.id
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body.replace(b"completed", b"failed"), headers)
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(body, {**headers, "webhook-timestamp": "1700000000"})
    state = delivered(front, video)
    assert (state["attempts"], state["last_status"], state["last_error"]) == (1, 200, None)


def test_a_failed_and_a_cancelled_video_are_told_too(front: Front, receiver: Receiver) -> None:
    failed, cancelled = asked(front, receiver), asked(front, receiver)
    front.worker.finish(front.worker.claimed(), "failed").raise_for_status()
    front.people.post(f"/v1/videos/{cancelled}/cancel").raise_for_status()
    told = receiver.told(2)
    assert {each["type"] for each in told} == {"video.failed"}
    assert {each["data"]["id"] for each in told} == {failed, cancelled}


def test_every_step_is_told_to_who_asks_for_it(front: Front, receiver: Receiver, clip: bytes) -> None:
    events = ["video.queued", "video.in_progress", "video.completed"]
    asked(front, receiver, webhook_events=events)
    receiver.told(1)
    front.worker.make(clip)
    assert sorted(each["type"] for each in receiver.told(3)) == sorted(events)
    assert len(set(receiver.ids())) == 3


def test_a_form_names_events_too(front: Front, receiver: Receiver) -> None:
    fields = {"prompt": "a boat", "webhook_url": receiver.url, "webhook_events": "video.failed, video.queued"}
    video = front.people.post(
        "/v1/videos", files={name: (None, each) for name, each in fields.items()}
    ).json()
    assert receiver.told()[0]["type"] == "video.queued"
    front.people.post(f"/v1/videos/{video['id']}/cancel").raise_for_status()
    assert receiver.told(2)[1]["type"] == "video.failed"


def test_a_receiver_that_fails_is_asked_again_with_the_same_id(
    front: Front, receiver: Receiver, clip: bytes
) -> None:
    receiver.statuses = [500, 302, 404, 200]
    video = asked(front, receiver)
    front.worker.make(clip)
    assert delivered(front, video)["attempts"] == 4
    assert len(set(receiver.ids())) == 1
    assert len({body for _, body in receiver.seen}) == 1


def test_a_receiver_that_is_gone_is_left_alone_until_somebody_asks(
    front: Front, receiver: Receiver, clip: bytes
) -> None:
    receiver.statuses = [410, 200]
    video = asked(front, receiver)
    front.worker.make(clip)
    wait_for(lambda: webhook(front, video)["state"] == "failed")
    assert webhook(front, video)["last_status"] == 410
    assert front.people.post(f"/v1/videos/{video}/webhook").json()["state"] == "waiting"
    delivered(front, video)
    assert len(receiver.seen) == 2
    assert len(set(receiver.ids())) == 1


def test_a_video_that_tells_nobody_has_nothing_to_send_again(front: Front) -> None:
    video = asked(front)
    assert webhook(front, video) is None
    refused = front.people.post(f"/v1/videos/{video}/webhook")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "no_webhook")
    front.people.post(f"/v1/videos/{video}/cancel")


def test_a_receiver_says_how_long_it_wants_to_be_left_alone(
    front: Front, receiver: Receiver, clip: bytes
) -> None:
    receiver.statuses, receiver.headers = [429, 200], {"Retry_After": "2"}
    video = asked(front, receiver)
    front.worker.make(clip)
    delivered(front, video)
    assert receiver.times[1] - receiver.times[0] >= 1.9


def test_a_slow_receiver_holds_up_nobody_else(front: Front, receiver: Receiver, clip: bytes) -> None:
    goes_on, at_once, most = threading.Event(), [0], [0]

    def hold(asked: Asked) -> None:
        at_once[0] += 1
        most[0] = max(most[0], at_once[0])
        goes_on.wait(60)
        at_once[0] -= 1
        asked.reply(200)

    with serving(hold, host="127.0.0.2") as slow:
        held = [asked(front, webhook_url=slow) for _ in range(6)]
        for _ in held:
            front.worker.make(clip)
        wait_for(lambda: at_once[0] == 4)
        video = asked(front, receiver)
        front.worker.make(clip)
        receiver.told()
        assert delivered(front, video)["attempts"] == 1
        goes_on.set()
        for each in held:
            delivered(front, each)
    assert most[0] == 4


def test_who_never_takes_it_is_given_up(tmp_path: Path, receiver: Receiver, clip: bytes) -> None:
    receiver.statuses = [500]
    with running(settings(tmp_path, webhook_give_up_seconds=0.5)) as front:
        front.plan(WAN)
        video = asked(front, receiver)
        front.worker.make(clip)
        wait_for(lambda: webhook(front, video)["state"] == "failed")
        assert webhook(front, video)["attempts"] == len(receiver.seen) > 1


def test_the_check_that_the_documents_show_is_right(front: Front, receiver: Receiver, clip: bytes) -> None:
    page = (Path(__file__).parents[4] / "docs/api.md").read_text(encoding="utf-8")
    [shown] = [part for part in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "is_genuine" in part]
    names: dict[str, Any] = {}
    exec(shown, names)
    asked(front, receiver)
    front.worker.make(clip)
    receiver.told()
    [(headers, body)] = receiver.seen
    assert names["is_genuine"](body, headers, SECRET)
    assert not names["is_genuine"](body + b" ", headers, SECRET)
    assert not names["is_genuine"](body, {**headers, "webhook-timestamp": "1700000000"}, SECRET)


def test_a_host_inside_is_refused_at_once_or_at_the_call(
    tmp_path: Path, receiver: Receiver, clip: bytes
) -> None:
    port = receiver.url.split(":")[2].partition("/")[0]
    with running(settings(tmp_path, private_hosts=())) as front:
        front.plan(WAN)
        for host in ("127.0.0.1", "localhost", "[::1]", "169.254.169.254", "metadata.google.internal"):
            answer = front.people.post(
                "/v1/videos", json={"prompt": "a", "webhook_url": f"http://{host}:{port}/"}
            )
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "webhook_url"), host
        video = asked(front, webhook_url=f"http://2130706433:{port}/")
        front.worker.make(clip)
        wait_for(lambda: webhook(front, video)["last_error"])
        assert "no public host" in webhook(front, video)["last_error"]
    assert receiver.seen == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook_url": "studio.example/told"},
        {"webhook_url": "ftp://studio.example/told"},
        {"webhook_url": "https://user:pass@studio.example/told"},
        {"webhook_url": "https://studio.example/a b"},
        {"webhook_url": "https://studio.example:99999/"},
        {"webhook_url": "https://studio.example/" + "x" * 3000},
        {"webhook_url": 7},
        {"webhook_url": "https://studio.example/", "webhook_events": ["video.exploded"]},
        {"webhook_url": "https://studio.example/", "webhook_events": 7},
    ],
)
def test_what_is_no_webhook_is_refused_with_its_field(front: Front, wrong: dict[str, Any]) -> None:
    answer = front.people.post("/v1/videos", json={"prompt": "a boat", **wrong})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == [*wrong][-1]


def test_a_box_tells_of_every_video_in_runpods_shape_if_it_is_set_so(
    tmp_path: Path, receiver: Receiver, clip: bytes
) -> None:
    made = settings(tmp_path, webhook_url=receiver.url, webhook_format="runpod", webhook_secret=None)
    with running(made) as front:
        front.plan(WAN)
        video = asked(front)
        front.worker.make(clip)
        [said] = receiver.told()
        assert (said["id"], said["status"]) == (video, "COMPLETED")
        assert said["output"]["content"] == f"/v1/videos/{video}/content"
        assert said["delayTime"] >= 0
        assert said["executionTime"] >= 0
        cancelled = asked(front)
        front.people.post(f"/v1/videos/{cancelled}/cancel").raise_for_status()
        assert receiver.told(2)[1] == {
            "id": cancelled, "status": "CANCELLED", "error": "the job was cancelled",
        }  # fmt: skip
    secret = tmp_path / "webhook-secret"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    headers, body = receiver.seen[0]
    openai.OpenAI(api_key="unused").webhooks.verify_signature(
        body, headers, secret=secret.read_text().strip()
    )


def test_no_address_and_no_secret_is_in_a_log_or_a_status(
    front: Front, receiver: Receiver, clip: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [500, 410]
    with caplog.at_level(logging.INFO):
        video = asked(front, receiver)
        front.worker.make(clip)
        wait_for(lambda: webhook(front, video)["state"] == "failed")
    shown = caplog.text + front.people.get("/status").text + front.people.get(f"/v1/videos/{video}").text
    assert "answered 410" in shown
    assert "s3cret" not in shown
    assert SECRET not in shown


def test_a_box_that_is_killed_tells_it_after_its_next_start(
    tmp_path: Path, receiver: Receiver, clip: bytes
) -> None:
    receiver.statuses = [500, 200]
    (tmp_path / "settings.json").write_text(
        json.dumps({"webhook_url": receiver.url, "private_hosts": ["127.0.0.1"], "auth": "on"})
    )
    with started(tmp_path) as (front, kill):
        front.plan(WAN)
        video = asked(front)
        front.worker.make(clip)
        wait_for(lambda: webhook(front, video)["last_status"] == 500)
        kill()
    with started(tmp_path) as (front, _):
        delivered(front, video)
    assert len(receiver.seen) == 2
    assert len(set(receiver.ids())) == 1


@contextmanager
def started(data_dir: Path) -> Iterator[tuple[Front, Callable[[], None]]]:
    """A front in a process of its own, and how it is killed."""
    port = free_port()
    command = [sys.executable, "-m", "services.front.app", "--data-dir", str(data_dir), "--port", str(port)]
    process = subprocess.Popen([*command, "--settings", str(data_dir / "settings.json")])
    try:
        wait_for(lambda: httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200)
        front = Front(data_dir, port)
        yield front, process.kill
        front.close()
    finally:
        process.kill()
        process.wait(60)
