"""Named keys: each may do what its scopes say, as much as its limits say, until it is revoked."""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from services.front.door import routes
from services.front.door.rates import Rates
from services.front.settings import Settings
from services.keys.key import NewKey
from services.keys.key_file import KeyFile
from tests.services.front.running import WAN, Front, Hand, running


def make(front: Front, name: str, **wanted: Any) -> dict[str, Any]:
    answer = front.people.post("/v1/keys", json={"name": name, **wanted})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def client(front: Front, key: dict[str, Any]) -> httpx.Client:
    return httpx.Client(base_url=front.url, headers={"Authorization": f"Bearer {key['key']}"}, timeout=60)


def ask(http: httpx.Client, **more: Any) -> httpx.Response:
    return http.post("/v1/videos", json={"prompt": "a cat", **more})


@pytest.fixture
def anna(wan: Front) -> Iterator[httpx.Client]:
    with client(wan, make(wan, "anna")) as http:
        yield http


@pytest.fixture
def ben(wan: Front) -> Iterator[httpx.Client]:
    with client(wan, make(wan, "ben")) as http:
        yield http


def test_a_key_is_shown_once_and_kept_as_a_hash(wan: Front) -> None:
    made = make(wan, "anna")
    assert made["key"].startswith("kk_")
    file = wan.data_dir / "keys.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert made["key"] not in file.read_text()
    listed = wan.people.get("/v1/keys").text
    assert made["id"] in listed
    assert made["key"] not in listed
    assert "hash" not in listed


def test_a_key_sees_and_ends_only_its_own_videos(
    wan: Front, anna: httpx.Client, ben: httpx.Client, clip: bytes
) -> None:
    mine = ask(anna).json()["id"]
    wan.worker.make(clip)
    owners = ask(wan.people).json()["id"]
    for name in (mine, owners):
        for method, path in (
            ("GET", ""),
            ("GET", "/content"),
            ("GET", "/events"),
            ("POST", "/cancel"),
            ("POST", "/remix"),
            ("POST", "/retry"),
            ("POST", "/link"),
            ("POST", "/webhook"),
            ("DELETE", ""),
        ):
            answer = ben.request(
                method, f"/v1/videos/{name}{path}", json={"prompt": "x"} if method == "POST" else None
            )
            assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found"), (method, path)
    assert ben.get("/v1/videos").json()["data"] == []
    assert [each["id"] for each in anna.get("/v1/videos").json()["data"]] == [mine]
    assert anna.get(f"/v1/videos/{mine}/content").content == clip
    assert anna.delete(f"/v1/videos/{mine}").status_code == 200
    assert [each["id"] for each in wan.people.get("/v1/videos").json()["data"]] == [owners]


def test_scopes_open_what_they_say(wan: Front, anna: httpx.Client) -> None:
    name = ask(anna).json()["id"]
    with (
        client(wan, make(wan, "reader", scopes=["read"])) as reader,
        client(wan, make(wan, "auditor", scopes=["read:all"])) as auditor,
        client(wan, make(wan, "both", scopes=["read:all", "make"])) as both,
        client(wan, make(wan, "chief", scopes=["admin"])) as chief,
    ):
        assert [ask(each).status_code for each in (reader, auditor, both, chief)] == [403, 403, 200, 200]
        assert ask(reader).json()["error"]["code"] == "not_permitted"
        path = f"/v1/videos/{name}"
        assert [each.get(path).status_code for each in (reader, auditor, both, chief)] == [404, 200, 200, 200]
        assert both.delete(path).status_code == 404, "reading all is not ending all"
        assert both.post(f"{path}/cancel").status_code == 404
        codes = [each.post(f"{path}/webhook").json()["error"]["code"] for each in (both, chief)]
        assert codes == ["not_found", "no_webhook"]
        for each, code in ((anna, 403), (auditor, 403), (both, 403), (chief, 200)):
            assert each.get("/v1/keys").status_code == code
            assert each.post("/v1/queue/pause").status_code == code
            assert each.get("/v1/models").status_code == 200
        chief.post("/v1/queue/resume").raise_for_status()
        assert chief.delete(path).status_code == 200


def test_a_route_that_stands_in_no_table_is_for_the_admin() -> None:
    assert routes.need("GET", "/v1/somewhere/new") == "admin"
    assert routes.need("POST", "/v1/keys") == "admin"
    assert routes.need("POST", "/hub-token") == "admin"
    assert routes.need("TRACE", "/") == "admin"


def test_no_key_goes_before_others_unless_it_is_an_admins(wan: Front, anna: httpx.Client) -> None:
    answer = ask(anna, priority=1)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_permitted")
    assert ask(anna, priority=-5).status_code == 200
    assert ask(wan.people, priority=100).status_code == 200


def test_a_revoked_key_opens_nothing_from_the_next_request_on(wan: Front, anna: httpx.Client) -> None:
    assert anna.get("/v1/videos").status_code == 200
    assert wan.people.delete("/v1/keys/anna").status_code == 200
    assert anna.get("/v1/videos").status_code == 401
    assert wan.people.delete("/v1/keys/anna").status_code == 404
    assert make(wan, "anna")["id"] != "", "its name is free again"
    taken = wan.people.post("/v1/keys", json={"name": "anna"})
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "name_taken")


def test_a_key_expires(wan: Front) -> None:
    made = make(wan, "short", expires_in_seconds=0.2)
    with client(wan, made) as short:
        time.sleep(0.3)
        assert short.get("/v1/videos").status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "a.b"},
        {"name": "x", "scopes": []},
        {"name": "x", "scopes": ["root"]},
        {"name": "x", "scopes": ["worker", "admin"]},
        {"name": "x", "queue_share": 0},
        {"name": "x", "queue_share": 1.5},
        {"name": "x", "clips_per_day": -1},
        {"name": "x", "requests_per_minute": 0},
        {"name": "x", "expires_in_seconds": -1},
        {"name": "x", "colour": "red"},
    ],
)
def test_a_wrong_wish_makes_no_key(wan: Front, wrong: dict[str, Any]) -> None:
    assert wan.people.post("/v1/keys", json=wrong).status_code == 400
    assert wan.people.get("/v1/keys").json()["data"] == []


def test_one_key_cannot_fill_the_queue_for_all(wan: Front, anna: httpx.Client) -> None:
    codes = [ask(anna).status_code for _ in range(4)]  # five may wait here, and half of them are its share
    assert codes == [200, 200, 429, 429]
    refused = ask(anna)
    assert refused.json()["error"]["code"] == "share_full"
    assert int(refused.headers["retry-after"]) > 0
    assert ask(wan.people).status_code == 200


def test_a_key_uses_no_more_than_its_quota(wan: Front, clip: bytes) -> None:
    with client(wan, make(wan, "metered", clips_per_day=2, queue_share=1)) as metered:
        names = [ask(metered).json()["id"] for _ in range(2)]
        for name in names:
            metered.delete(f"/v1/videos/{name}").raise_for_status()
        refused = ask(metered)
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_used")
        assert 0 < int(refused.headers["retry-after"]) <= 24 * 3600
        (mine,) = metered.get("/v1/usage").json()["data"]
        assert (mine["name"], mine["clips"]) == ("metered", 2)
    ask(wan.people)
    wan.worker.make(clip)
    rows = {each["name"]: each for each in wan.people.get("/v1/usage").json()["data"]}
    assert rows.keys() == {"metered", "owner"}
    assert rows["owner"]["gpu_seconds"] > 0


def test_a_key_that_asks_too_often_is_told_when_to_come_back(wan: Front, anna: httpx.Client) -> None:
    with client(wan, make(wan, "hasty", requests_per_minute=3)) as hasty:
        answers = [hasty.get("/v1/models") for _ in range(4)]
        assert [each.status_code for each in answers] == [200, 200, 200, 429]
        assert answers[-1].json()["error"]["code"] == "rate_limited"
        assert 1 <= int(answers[-1].headers["retry-after"]) <= 21
    assert anna.get("/v1/models").status_code == 200


def test_requests_come_back_as_the_minute_passes() -> None:
    now = 0.0
    rates = Rates(lambda: now)
    assert [rates.wait_seconds("a", 2) for _ in range(2)] == [0, 0]
    assert rates.wait_seconds("a", 2) == pytest.approx(30)
    assert rates.wait_seconds("b", 2) == 0
    now = 30.0
    assert rates.wait_seconds("a", 2) == 0
    assert rates.wait_seconds("a", None) == 0


def test_the_last_use_is_known_and_a_damaged_file_lets_no_key_in(wan: Front, anna: httpx.Client) -> None:
    began = time.time()
    anna.get("/v1/videos")
    (row,) = wan.people.get("/v1/keys").json()["data"]
    assert row["last_used_at"] >= began - 1
    (wan.data_dir / "keys.json").write_text("{}")
    assert anna.get("/v1/videos").status_code == 401
    assert wan.people.get("/v1/videos").status_code == 200


def test_a_key_opens_although_its_use_cannot_be_noted(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    made, secret = keys.add(NewKey(name="anna"))
    (tmp_path / "keys.json.lock").unlink()
    (tmp_path / "keys.json.lock").mkdir()  # as a disk that takes nothing
    keys.note_use(made)
    assert keys.find(secret) == made


def test_a_remix_and_an_idempotency_key_are_within_a_key(
    wan: Front, anna: httpx.Client, ben: httpx.Client
) -> None:
    once = {"Idempotency-Key": "k1"}
    first = anna.post("/v1/videos", json={"prompt": "a cat"}, headers=once).json()["id"]
    assert anna.post("/v1/videos", json={"prompt": "a cat"}, headers=once).json()["id"] == first
    assert ben.post("/v1/videos", json={"prompt": "a cat"}, headers=once).json()["id"] != first
    again = anna.post(f"/v1/videos/{first}/remix", json={"prompt": "a dog"}).json()["id"]
    assert anna.get(f"/v1/videos/{again}").status_code == 200


# -- boxes ---------------------------------------------------------------------------------------------


def test_a_boxs_workers_have_its_name_and_touch_no_other_boxs_job(wan: Front, clip: bytes) -> None:
    left, right = (make(wan, name, scopes=["worker"])["key"] for name in ("left", "right"))
    assert left.startswith("kw_left.")
    hands = [Hand(wan.url, left, "left.gpu-0"), Hand(wan.url, right, "right.gpu-0")]
    for hand in hands:
        hand.models = ["demo-wan"]
        hand.says("ready")
    mine, theirs = hands
    ask(wan.people)
    job = mine.claimed()

    def refused(answer: httpx.Response) -> None:
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "other_box")

    for hand in (theirs, wan.worker):
        refused(hand.beat(job))
        refused(hand.put(job, b"not yours"))
        refused(hand.finish(job, "failed"))
        refused(hand.http.get(f"/jobs/{job['id']}/input", params={"token": job["token"]}))
        refused(hand.http.post(f"/jobs/{job['id']}/release", json={"token": job["token"]}))
        refused(hand.http.post("/claim", json={"worker": "left.gpu-0", "models": [], "wait_seconds": 0}))
        refused(hand.http.post("/workers/left.gpu-0/state", json={"state": "ready"}))
    refused(mine.http.post("/claim", json={"worker": "gpu-0", "models": [], "wait_seconds": 0}))
    mine.put(job, clip).raise_for_status()
    mine.finish(job).raise_for_status()
    assert wan.people.get("/v1/videos", headers={"Authorization": f"Bearer {left}"}).status_code == 401
    wan.people.delete("/v1/keys/left").raise_for_status()
    assert mine.http.post("/claim", json={"worker": "left.gpu-0", "wait_seconds": 0}).status_code == 401
    for hand in hands:
        hand.http.close()


def test_this_boxs_own_token_goes_on_working_for_its_own_workers(wan: Front, clip: bytes) -> None:
    make(wan, "left", scopes=["worker"])
    name = ask(wan.people).json()["id"]
    assert wan.worker.make(clip) == name


def test_a_key_opens_no_worker_verbs_and_a_box_no_api(wan: Front) -> None:
    made = make(wan, "anna", scopes=["admin"])
    with client(wan, made) as admin:
        assert admin.post("/internal/claim", json={"worker": "w"}).status_code == 401


def test_keys_outlive_the_front(tmp_path: Path) -> None:
    with running(Settings(tmp_path)) as before:
        before.plan(WAN)
        made = make(before, "anna")
    assert json.loads((tmp_path / "keys.json").read_text())["keys"][0]["name"] == "anna"
    with running(Settings(tmp_path)) as after, client(after, made) as anna:
        assert anna.get("/v1/videos").status_code == 200
    assert [each.name for each in KeyFile(tmp_path).active()] == ["anna"]
