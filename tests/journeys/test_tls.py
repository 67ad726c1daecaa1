"""A whole boot with a certificate of the box's own: people come by TLS, the kit's own parts as before."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bootstrap.launch import health, tls
from tests.journeys.kit import Kit
from tests.support import photos


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kit]:
    kit = Kit(tmp_path_factory.mktemp("tls"))
    arguments = [*kit.up_arguments(), "--tls", "auto", "--detach", "--host", "0.0.0.0"]
    try:
        done = kit.run(*arguments, seconds=300)
        assert done.returncode == 0, done.stderr
        kit.sign_in()
        kit.ready()
        yield kit
    finally:
        kit.close()


def certificate(kit: Kit) -> tls.Files:
    return tls.Files(kit.data_dir / "tls/certificate.pem", kit.data_dir / "tls/key.pem")


def test_a_client_of_the_world_gets_a_clip_by_tls(kit: Kit) -> None:
    job = kit.ended(kit.ask(num_inference_steps=1))
    assert job["status"] == "completed", job
    trusts = ssl.create_default_context(cafile=str(certificate(kit).certificate))
    bearer = {"Authorization": kit.http.headers["Authorization"]}
    for name in ("127.0.0.1", "localhost"):
        with httpx.Client(base_url=f"https://{name}:{kit.port}", verify=trusts, headers=bearer) as people:
            assert people.get("/readyz", timeout=60).status_code == 200
            clip = people.get(f"/v1/videos/{job['id']}/content", timeout=60).content
            assert clip[4:8] == b"ftyp"


def test_its_address_and_fingerprint_are_told(kit: Kit) -> None:
    code, told = kit.status()
    assert (code, told["state"]) == (0, "ready")
    assert told["url"].startswith("https://")
    assert told["fingerprint"] == certificate(kit).fingerprint()
    assert told["fingerprint"] in kit.run("status").stdout
    assert told["fingerprint"] in (kit.data_dir / "logs/agent.log").read_text()


def test_the_kits_own_clients_need_no_more_than_before(kit: Kit, tmp_path: Path) -> None:
    assert health.check({**os.environ, "KINOKIT_DATA_DIR": str(kit.data_dir)}), "a container's HEALTHCHECK"
    (tmp_path / "photo.png").write_bytes(photos.landscape())
    asked = ("generate", str(tmp_path / "photo.png"), "--num-inference-steps", "1")
    done = kit.run(*asked, "-o", str(tmp_path / "clip.mp4"), seconds=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "clip.mp4").read_bytes()[4:8] == b"ftyp"
