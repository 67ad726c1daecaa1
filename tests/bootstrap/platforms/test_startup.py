"""What is printed for a marketplace survives its quoting and carries what the box needs."""

from __future__ import annotations

import base64
import functools
import http.server
import json
import re
import shlex
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bootstrap.choose import reading
from bootstrap.cli import app
from bootstrap.errors import KitError
from bootstrap.launch import packages
from bootstrap.platforms import offer, registry
from bootstrap.platforms import order as startup
from bootstrap.platforms.order import Order
from bootstrap.rent.wish import Wish
from tests.support.ports import free_port

PUBLISHED = {
    "script_url": "https://example.org/v1/start.sh",
    "source": "https://example.org/v1/kinokit-1-py3-none-any.whl",
}


def order(model: str = "wan22", **changes: object) -> Order:
    manifest = reading.load(model)
    given = {**PUBLISHED, "profile": manifest.profiles[0], **changes}
    return Order(manifest=manifest, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("platform", registry.named("form"))
@pytest.mark.parametrize("model", ["wan22", "wan22-i2v", "svd-xt", "demo"])
def test_what_is_pasted_is_one_short_line_of_ascii_without_nested_quotes(platform: str, model: str) -> None:
    paste = registry.form(platform)(order(model, api_key="k" * 43)).paste
    assert paste is not None
    assert len(paste.encode()) < 4000
    assert paste.isascii()
    assert "\n" not in paste
    assert '"' not in paste
    assert paste.count("'") in (0, 2)
    assert not set(paste) & set('&$`\\"')


@pytest.fixture
def script_url(tmp_path: Path) -> Iterator[str]:
    """A real web server with a start script that says how it was called."""
    (tmp_path / "start.sh").write_text("#!/bin/sh\necho started with $#\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/start.sh"
        server.shutdown()


@pytest.mark.parametrize("platform", registry.named("form"))
def test_the_line_survives_bash_json_twice_and_base64(platform: str, script_url: str, tmp_path: Path) -> None:
    paste = registry.form(platform)(order(script_url=script_url, port=free_port())).paste
    assert paste is not None
    paste = paste.replace("/tmp/kinokit", str(tmp_path / "box"))
    twice = json.loads(json.loads(json.dumps(json.dumps(paste))))
    plain = base64.b64decode(base64.b64encode(twice.encode())).decode()
    for command in (
        ["bash", "-c", plain],
        ["sh", "-c", plain],
        ["sh", "-c", f"bash -c {shlex.quote(plain)}"],
    ):
        answer = subprocess.run(command, capture_output=True, text=True, check=True)
        assert answer.stdout.endswith("started with 0\n")


@pytest.mark.parametrize("platform", registry.named("form"))
def test_the_api_call_carries_model_platform_and_ports(platform: str) -> None:
    body = registry.form(platform)(order(port=8080, service="api", api_key="secret")).body
    env = body["env"]
    assert env["KINOKIT_MODEL"] == "wan22"
    assert env["KINOKIT_SERVICE"] == "api"
    assert env["PLATFORM"] == platform
    assert env["KINOKIT_TOKEN"] == "secret"
    assert "8080" in json.dumps(body.get("ports", env))
    json.dumps(body)


@pytest.mark.parametrize(
    ("value", "named"),
    [("a&b", "&"), ("snow☃", "☃"), ("it's", "'"), ('say "x"', '"'), ("$HOME", "$"), ("x" * 300, "300")],
)
def test_a_value_that_a_marketplace_would_mangle_is_refused(value: str, named: str) -> None:
    with pytest.raises(KitError) as error:
        order(extra_env={"NOTE": value}).env("clore")
    assert named in str(error.value)
    assert "NOTE" in str(error.value)


def test_a_secret_value_is_refused_without_being_shown() -> None:
    with pytest.raises(KitError) as error:
        order("svd-xt-1-1", hf_token="hf_abc&def").env("clore")
    assert "abc" not in str(error.value)


def test_the_disk_holds_weights_packages_and_clips() -> None:
    assert 60 <= order("wan22").disk_gb <= 80
    assert order("demo").disk_gb == 30


def test_the_host_filter_asks_for_what_some_pinned_torch_runs_on() -> None:
    assert order().cuda == "12.0"
    allowed = registry.form("runpod")(order()).body["allowedCudaVersions"]
    assert {"12.0", "12.4", "12.8", "13.0"} <= set(allowed)
    assert "11.8" not in allowed


def test_the_host_filter_for_an_image_asks_for_the_cuda_of_the_torch_in_it() -> None:
    pinned = (packages.REQUIREMENTS / "torch-cuda.txt").read_text()
    found = re.search(r"nvidia-cuda-runtime==(\d+\.\d+)", pinned)
    assert found is not None
    of_image = order(image="example/kinokit-ui:1", script_url=None)
    assert of_image.cuda == found[1]
    assert registry.form("runpod")(of_image).body["allowedCudaVersions"] == [found[1]]


def test_a_kit_image_needs_no_start_script() -> None:
    form = registry.form("runpod")(order(image="example/kinokit-ui:1", script_url=None))
    assert form.paste is None
    assert "dockerStartCmd" not in form.body


def test_vast_replaces_the_entrypoint_so_the_kit_image_is_started_from_the_on_start_script() -> None:
    form = registry.form("vast")(order(image="example/kinokit-ui:1", script_url=None))
    assert form.body["onstart"] == "entrypoint.sh kinokit up"


def test_the_text_names_every_field_and_shows_the_line_alone() -> None:
    text = registry.form("vast")(order()).text()
    line = order().line()
    assert line in text.splitlines()
    assert "cuda_max_good>=12.0" in text


def test_vasts_template_and_api_call_have_the_same_variables() -> None:
    form = registry.form("vast")(order(api_key="the-key"))
    (options,) = [value for name, value in form.fields if name == "Docker options"]
    words = shlex.split(options)
    typed = {word.partition("=")[0]: word.partition("=")[2] for word in words if "=" in word}
    sent = {name: value for name, value in form.body["env"].items() if not name.startswith("-p")}
    assert typed == sent
    # Open leads to the kit and signs in: the button's token is the kit's.
    assert sent["OPEN_BUTTON_PORT"] == "8000"
    assert sent["OPEN_BUTTON_TOKEN"] == sent["KINOKIT_TOKEN"] == "the-key"


def test_vasts_launch_mode_provides_port_22() -> None:
    body = registry.form("vast")(order()).body
    assert body["runtype"] == "ssh_direct"
    assert "-p 22:22" not in body["env"]


def test_the_link_that_is_asked_for_is_one_number_on_paper_and_by_api() -> None:
    (filters,) = [value for name, value in registry.form("vast")(order()).fields if name == "Extra filters"]
    assert "num_gpus=1" in filters
    assert f"inet_down>={offer.MIN_DOWN_MBPS:g}" in filters
    assert f"reliability>={offer.MIN_RELIABILITY:g}" in filters
    assert registry.form("runpod")(order()).body["minDownloadMbps"] == offer.Filters().min_down_mbps


def test_startup_and_rent_ask_for_the_same_profile_and_startup_says_which() -> None:
    manifest = reading.load("wan22")
    assert startup.profile_to_rent(manifest) == Wish(platform="vast", model="wan22").profile_of(manifest)
    arguments = ["startup", "--platform", "vast", "--model", "wan22", *published_options()]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    smallest = startup.profile_to_rent(manifest)
    assert f"the smallest profile, {smallest.name}" in result.output
    assert f"gpu_ram>={order(profile=smallest).gpu_gb} " in result.output


def test_a_clore_order_names_its_price_and_runs_its_command_beside_ssh() -> None:
    body = registry.form("clore")(order()).body
    assert body["required_price"] == "{price}"
    assert body["currency"] == "{currency}"
    assert body["autossh_entrypoint"] is True


def published_options() -> list[str]:
    return ["--script-url", PUBLISHED["script_url"], "--source", PUBLISHED["source"]]
