"""What every platform promises, whichever it is: nothing here names one."""

from __future__ import annotations

import inspect
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from bootstrap import platforms, settings, volume
from bootstrap.choose import reading
from bootstrap.errors import KitError
from bootstrap.launch import location
from bootstrap.platforms import registry
from bootstrap.platforms.base import Env, Platform
from bootstrap.platforms.order import Order
from tests.bootstrap.platforms.environments import ENVIRONMENTS

ROOT = Path(__file__).parents[3]
FUNCTIONS = [name for name, value in vars(Platform).items() if inspect.isfunction(value) and name[0] != "_"]


def order() -> Order:
    manifest = reading.load("wan22")
    return Order(manifest=manifest, profile=manifest.profiles[0], api_key="k" * 43)


@pytest.mark.parametrize("name", registry.PLATFORMS)
def test_a_platform_has_every_name_of_the_protocol(name: str) -> None:
    platform = registry.PLATFORMS[name]
    assert name == platform.NAME
    assert platform.TITLE
    assert platform.IS_RENTED is (name not in registry.ASKED_LAST)
    assert platform.PROXY_TIMEOUT_SECONDS is None or platform.PROXY_TIMEOUT_SECONDS > 30
    assert platform.ADDRESS_DOMAIN is None or platform.ADDRESS_DOMAIN.startswith(".")
    assert set(platform.SETTINGS) <= set(settings.Settings.model_fields)
    for function in FUNCTIONS:
        asked = list(inspect.signature(getattr(Platform, function)).parameters)[1:]
        assert list(inspect.signature(getattr(platform, function)).parameters) == asked


def test_every_platform_has_an_environment_to_be_recognised_by() -> None:
    assert set(ENVIRONMENTS) == set(registry.PLATFORMS)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_a_platform_recognises_itself_and_no_other_marketplace_does(name: str) -> None:
    env = ENVIRONMENTS[name]
    assert name == platforms.detect(env).NAME
    others = [
        other
        for other, platform in registry.PLATFORMS.items()
        if other not in registry.ASKED_LAST and platform.is_here(env)
    ]
    assert others == ([] if name in registry.ASKED_LAST else [name])


@pytest.mark.parametrize("name", registry.PLATFORMS)
@pytest.mark.parametrize("is_alone", [True, False])
def test_a_platform_answers_whatever_the_environment_lacks(name: str, is_alone: bool) -> None:
    """One may be named by PLATFORM in a box that has none of its variables."""
    env: Env = {"HOME": "/home/ada"} if is_alone else {"HOME": "/home/ada", **ENVIRONMENTS[name]}
    platform = registry.PLATFORMS[name]
    url = platform.public_url(env, 8000)
    assert url is None or re.fullmatch(r"https?://\S+[^/]", url)
    assert platform.data_dir(env).startswith("/")
    assert platform.data_dir(env).endswith("/kinokit")
    assert platform.direct_port(env, 8000) is None
    stop = platform.stop(env)
    assert stop.description
    assert stop.request is None or (platform.STOPS_ITSELF and stop.request.url.startswith("https://"))


@pytest.mark.parametrize("name", registry.PLATFORMS)
@pytest.mark.parametrize("how", ["seen", "named", "another disk"])
def test_the_start_script_keeps_files_where_the_platform_does(name: str, how: str) -> None:
    """It runs before Python is there, so it has a rule of its own."""
    env = {"HOME": "/home/ada", "PATH": os.environ["PATH"]}
    env |= {"PLATFORM": name} if how == "named" else ENVIRONMENTS[name]
    env |= {"DATA_DIRECTORY": "/mnt/big/", "XDG_DATA_HOME": "/mnt/data"} if how == "another disk" else {}
    script = (ROOT / "scripts/start.sh").read_text()
    functions = re.findall(
        r"^(?:platform_here|data_directory)\(\) \{.*?^\}", script, re.DOTALL | re.MULTILINE
    )
    assert len(functions) == 2
    told = subprocess.run(
        ["sh", "-c", "\n".join(["set -eu", *functions, 'data_directory "$(platform_here)"'])],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == platforms.detect(env).data_dir(env)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_kits_images_use_the_volume_of_the_platform_and_their_own_in_docker_alone(name: str) -> None:
    written = (ROOT / "images/base/Dockerfile").read_text()
    image = dict(re.findall(r"^(?:ENV)? +(KINOKIT_\w+)=(\S+)", written, re.MULTILINE))
    assert image == {"KINOKIT_CONTAINER": "1", "KINOKIT_VOLUME": "/data"}
    env = {**ENVIRONMENTS[name], "HOME": "/root"}
    here = location.of(settings.load({}, {**env, **image}).settings, {**env, **image}, in_container=True)
    elsewhere = "docker" if name == "bare" else name  # no variable tells a container without a marketplace
    assert elsewhere == here.platform.NAME
    own = str(registry.PLATFORMS[name].data_dir(env))
    assert str(volume.top(here.data_dir)) == ("/data" if elsewhere == "docker" else own)
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["kinokit"]["environment"]
    assert compose["KINOKIT_DATA_DIR"] == "/data"


@pytest.mark.parametrize("name", registry.named("form"))
def test_a_form_has_no_character_that_a_marketplace_would_mangle(name: str) -> None:
    form = registry.form(name)(order())
    for label, value in form.fields:
        assert label.strip()
        assert value.strip()
        assert not set(value) & set('"&`$\\\n')
    assert not set("".join(form.body["env"].values())) & set("\"'&`$\\\n")
    assert form.method in ("POST", "PUT")
    assert form.url.startswith("https://")
    assert json.loads(json.dumps(form.body)) == form.body
    assert all(note.endswith(".") for note in form.notes)


@pytest.mark.parametrize("name", registry.named("form"))
def test_a_form_asks_for_what_the_model_needs(name: str) -> None:
    wanted = order()
    shown = registry.form(name)(wanted).text()
    for fact in (wanted.image, str(wanted.disk_gb), str(wanted.gpu_gb), wanted.cuda, str(wanted.port)):
        assert fact in shown


@pytest.mark.parametrize("name", registry.named("market"))
def test_a_market_has_a_form_a_name_an_address_and_a_variable_for_its_key(name: str) -> None:
    client = registry.market(name)
    assert name in registry.named("form")
    assert client.name == registry.PLATFORMS[name].TITLE
    assert client.address.startswith("https://")
    assert re.fullmatch(r"[A-Z]+_API_KEY", client.key_variable)


@pytest.mark.parametrize("name", ["moon", *sorted(set(registry.PLATFORMS) - set(registry.named("form")))])
def test_a_platform_without_a_form_is_refused_with_those_that_have_one(name: str) -> None:
    with pytest.raises(KitError) as error:
        registry.form(name)
    assert error.value.fix == f"use one of {', '.join(registry.named('form'))}"


@pytest.mark.parametrize("name", ["moon", *sorted(set(registry.PLATFORMS) - set(registry.named("market")))])
def test_a_platform_without_an_api_is_refused_with_those_that_have_one(name: str) -> None:
    with pytest.raises(KitError) as error:
        registry.market(name)
    assert error.value.fix == f"use one of {', '.join(registry.named('market'))}"
