"""A gated model on a box without a token: the page asks, somebody types it, and the boot goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bootstrap.choose import manifest
from tests import hub
from tests.hub import Hub
from tests.hub.server import certificate
from tests.journeys.kit import Kit
from tests.journeys.test_timeline import remote_demo
from tests.support.answering import Asked, serving
from tests.support.waiting import wait_for

PAGE = "https://hub.example/studio/gated"
TOKEN = "hf_typ3d"


@pytest.fixture
def server() -> Iterator[Hub]:
    with hub.serve() as running:
        yield running


@pytest.fixture
def kit(tmp_path: Path, server: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kit]:
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no-login"))
    path = remote_demo(tmp_path, server)
    document = yaml.safe_load(path.read_text())
    document["licence"] |= {"gated": True, "accept_url": PAGE}
    path.write_text(yaml.safe_dump(document))
    for name, repo in server.repos.items():
        server.repos[name] = replace(repo, gated=True)
    server.allow(TOKEN)
    made = Kit(tmp_path, str(path))
    yield made
    made.close()


def boot(kit: Kit) -> dict[str, Any]:
    found: dict[str, Any] = kit.http.get("/status").json()["boot"]
    return found


def test_a_token_that_is_typed_on_the_boot_page_lets_the_boot_go_on(kit: Kit, server: Hub) -> None:
    done = kit.run(*kit.up_arguments(), "--hf-endpoint", server.endpoint, "--detach")
    assert done.returncode == 0, done.stderr
    kit.sign_in()
    wait_for(lambda: boot(kit)["asks"], 100)
    asked = boot(kit)
    assert asked["state"] == "fetching" and asked["asks"]["page"] == PAGE
    assert "is gated" in asked["asks"]["problem"]
    assert kit.http.get("/readyz").json()["state"] == "fetching"

    stranger = kit.http.post("/hub-token", json={"token": TOKEN}, headers={"Authorization": ""})
    assert stranger.status_code == 401
    assert kit.http.post("/hub-token", json={"token": "two words"}).status_code == 204
    wait_for(lambda: "is no token" in boot(kit)["asks"]["problem"])
    assert kit.http.post("/hub-token", json={"token": "hf_wrong"}).status_code == 204
    wait_for(lambda: "has no access" in boot(kit)["asks"]["problem"])
    assert kit.http.post("/hub-token", json={"token": f' "{TOKEN}" '}).status_code == 204

    kit.ready()
    assert boot(kit)["asks"] is None
    assert kit.http.post("/hub-token", json={"token": TOKEN}).status_code == 409
    assert TOKEN not in json.dumps(kit.http.get("/status").json())
    kept = [path for path in kit.data_dir.rglob("*") if path.is_file() and path.stat().st_size < 1 << 20]
    assert kept and not [path for path in kept if TOKEN.encode() in path.read_bytes()]
    assert "type the token at http" in (kit.data_dir / "logs/agent.log").read_text()
    agents = [process.cmdline() for process in kit.everybody()]
    assert TOKEN not in str(agents) and TOKEN not in str(os.environ)


def test_a_model_sites_key_is_typed_there_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Hub
) -> None:
    pair = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(pair[0]))
    folder = manifest.MANIFEST_FOLDER / "demo"
    seen: list[str | None] = []

    def site(asked: Asked) -> None:
        seen.append(asked.headers.get("Authorization"))
        if seen[-1] != f"Bearer {TOKEN}":
            asked.reply(403 if asked.command == "HEAD" else 401)
            return
        asked.reply(200, (folder / asked.path.removeprefix("/demo/")).read_bytes())

    with serving(site, tls=pair) as address:
        path = remote_demo(tmp_path, server)
        document = yaml.safe_load(path.read_text())
        path.write_text(yaml.safe_dump({**document, "source": {"url": f"{address}/demo"}}))
        kit = Kit(tmp_path, str(path))
        try:
            assert kit.run(*kit.up_arguments(), "--detach").returncode == 0
            kit.sign_in()
            wait_for(lambda: boot(kit)["asks"], 100)
            asks = boot(kit)["asks"]
            assert asks["host"] == address.removeprefix("https://") and asks["page"] == address
            assert kit.http.post("/hub-token", json={"token": TOKEN}).status_code == 204
            kit.ready()
        finally:
            kit.close()
    assert set(seen) == {None, f"Bearer {TOKEN}"}
