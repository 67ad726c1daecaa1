"""What every image promises, seen in real containers built from the real Dockerfiles."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import httpx
import pytest
from PIL import Image
from skimage import data

from tests.images import bases, containers
from tests.images.containers import Container
from tests.images.engine import ROOT, Engine

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1500)]

# A small rented box: the limits that break other kits.
SMALL_BOX = ("--memory=4g", "--cpus=2", "--pids-limit=256")
READ_ONLY = ("--read-only", "--tmpfs=/tmp", "--tmpfs=/run", "--tmpfs=/home/kino:uid=10001")


@pytest.fixture(scope="module")
def studio(docker: Engine, images: dict[str, str]) -> Iterator[Container]:
    """The ui image with the demo model, read-only but for its volume, in a small box."""
    docker.run("volume", "rm", "-f", "kinokit-test-data", check=False)
    container = containers.start(
        docker,
        images["ui"],
        "kinokit-test-ui",
        *SMALL_BOX,
        *READ_ONLY,
        "-v",
        "kinokit-test-data:/data",
        "-e",
        "KINOKIT_MODEL=demo",
    )
    yield container
    docker.run("rm", "-f", container.name, check=False)
    docker.run("volume", "rm", "-f", "kinokit-test-data", check=False)


def photo() -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(data.astronaut()).save(buffer, "JPEG")
    return buffer.getvalue()


def make_clip(container: Container) -> bytes:
    with container.api() as api:
        job = api.post(
            "/v1/videos", data={"seed": "7"}, files={"input_reference": ("p.jpg", photo(), "image/jpeg")}
        )
        assert job.status_code == 200, job.text
        name = job.json()["id"]
        for _ in range(240):
            job = api.get(f"/v1/videos/{name}")
            if job.json()["status"] not in ("queued", "in_progress"):
                break
            time.sleep(0.5)
        assert job.json()["status"] == "completed", f"{job.text}\n{container.logs()[-3000:]}"
        return api.get(f"/v1/videos/{name}/content").content


def test_the_port_answers_before_anything_else_and_docker_sees_it_healthy(studio: Container) -> None:
    studio.wait("/healthz", 200, 15)
    studio.wait("/readyz", 200, 120)
    for _ in range(60):
        if studio.health() == "healthy":
            break
        time.sleep(0.5)
    assert studio.health() == "healthy"


def test_a_clip_is_made_through_the_published_port(studio: Container) -> None:
    studio.wait("/readyz", 200, 120)
    clip = make_clip(studio)
    with av.open(io.BytesIO(clip), "r") as video:
        frames = list(video.decode(video=0))
    assert len(frames) >= 8


def test_nobody_makes_clips_without_the_token(studio: Container) -> None:
    studio.wait("/healthz", 200, 15)
    assert httpx.get(studio.url + "/v1/videos", timeout=60).status_code == 401
    assert httpx.get(studio.url + "/status", timeout=60).status_code == 401


def test_it_does_not_run_as_root_outside_of_marketplaces(studio: Container) -> None:
    owners = studio.exec("stat", "-c", "%U", "/proc/1", "/data/token").split()
    assert owners[1] == "kino"


def test_a_stop_is_clean_and_a_restart_finds_its_clips(studio: Container) -> None:
    studio.wait("/readyz", 200, 120)
    with studio.api() as api:
        before = [job["id"] for job in api.get("/v1/videos").json()["data"]]
    assert studio.stop() <= 10
    state = json.loads(studio.engine.run("inspect", studio.name).stdout)[0]["State"]
    assert state["ExitCode"] in (0, 143)
    assert not state["OOMKilled"]
    studio.engine.run("start", studio.name)
    studio.url = containers.published_url(studio.engine, studio.name)
    studio.wait("/readyz", 200, 120)
    with studio.api() as api:
        assert [job["id"] for job in api.get("/v1/videos").json()["data"]] == before


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (("-e", "KINOKIT_MODEL=wan99"), "wan99"),
        (("-e", "KINOKIT_MODEL=demo", "-e", "KINOKIT_PORT=99999"), "99999"),
        (("-e", "KINOKIT_MODEL=demo", "-e", "KINOKIT_SERVICE=telepathy"), "telepathy"),
    ],
)
def test_a_wrong_setting_is_named_in_the_logs(
    docker: Engine, images: dict[str, str], settings: tuple[str, ...], reason: str
) -> None:
    container = containers.start(docker, images["api"], "kinokit-test-wrong", *settings)
    try:
        for _ in range(60):
            if reason in (logs := container.logs()) and "fix:" in logs:
                break
            time.sleep(0.5)
        assert reason in logs
        assert "fix:" in logs
        assert "Traceback" not in logs
    finally:
        docker.run("rm", "-f", container.name, check=False)


def test_images_hold_no_weights_but_the_demo_models(docker: Engine, images: dict[str, str]) -> None:
    command = [
        "find",
        "/",
        "-xdev",
        "-name",
        "*.safetensors",
        "-size",
        "+1M",
        "-not",
        "-path",
        "*/model-manifests/demo*",
    ]
    assert docker.run("run", "--rm", "--entrypoint", command[0], images["ui"], *command[1:]).stdout == ""


def test_an_image_says_what_is_inside_of_it(docker: Engine, images: dict[str, str]) -> None:
    for image, package in (("base", "pydantic"), ("gpu", "torch"), ("ui", "gradio")):
        listed = docker.run("run", "--rm", "--entrypoint", "cat", images[image], "/opt/kinokit/sbom.cdx.json")
        names = {each["name"] for each in json.loads(listed.stdout)["components"]}
        assert {package, "openssh-server", "tini"} <= names


def test_the_base_image_stays_within_its_budget(docker: Engine, images: dict[str, str]) -> None:
    """150 MB compressed, counted with Debian's own slim image (29 MB) in place of the stand-in."""
    own = docker.compressed_bytes(images["base"]) - docker.compressed_bytes(bases.debian(docker))
    print(f"base: {own / 1e6:.0f} MB above Debian, compressed")
    assert own < 121e6


@pytest.mark.parametrize("dockerfile", sorted(ROOT.glob("images/*/Dockerfile")), ids=lambda p: p.parent.name)
def test_dockerfiles_pass_hadolint(dockerfile: Path) -> None:
    command = [
        str(Path(sys.executable).parent / "hadolint"),
        "--config",
        str(ROOT / ".hadolint.yaml"),
        str(dockerfile),
    ]
    assert subprocess.run(command, capture_output=True, text=True).stdout == ""


@pytest.mark.parametrize(
    "script", sorted(ROOT.glob("images/**/*.sh")) + sorted(ROOT.glob("scripts/*.sh")), ids=lambda p: p.name
)
def test_shell_scripts_pass_shellcheck(script: Path) -> None:
    shellcheck = Path(sys.executable).parent / "shellcheck"
    command = [str(shellcheck), "--external-sources", str(script)]
    assert subprocess.run(command, capture_output=True, text=True, cwd=ROOT).stdout == ""
