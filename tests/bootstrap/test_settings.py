"""Flags, then the environment, then a file, then the default; all mistakes at once; secrets masked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bootstrap import settings
from bootstrap.launch import location
from bootstrap.settings import BadSettings, Settings


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def file(folder: Path, text: str) -> Path:
    path = folder / "kinokit.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("flags", "env", "text", "port", "source"),
    [
        ({}, {}, "", 8000, "default"),
        ({}, {}, "port: 7000", 7000, "kinokit.yaml"),
        ({}, {"PORT": "7001"}, "port: 7000", 7001, "environment PORT"),
        ({}, {"PORT": "7001", "KINOKIT_PORT": "7002"}, "port: 7000", 7002, "environment KINOKIT_PORT"),
        ({"port": 7003}, {"KINOKIT_PORT": "7002"}, "port: 7000", 7003, "flag --port"),
        ({"port": None}, {"KINOKIT_PORT": "7002"}, "", 7002, "environment KINOKIT_PORT"),
        ({}, {"KINOKIT_PORT": "", "PORT": ""}, "port: 7000", 7000, "kinokit.yaml"),  # compose sets empty ones
    ],
)
def test_the_nearest_source_wins_and_is_known(
    empty_folder: Path, flags: Mapping[str, Any], env: Mapping[str, str], text: str, port: int, source: str
) -> None:
    if text:
        file(empty_folder, text)
    found = settings.load(flags, env)
    assert (found.settings.port, found.sources["port"]) == (port, source)


@pytest.mark.parametrize(
    ("variable", "name", "value"),
    [
        ("MODEL", "model", "wan22"),
        ("SERVICE", "service", "api"),
        ("PLATFORM", "platform", "vast"),
        ("PUBLIC_URL", "public_url", "https://example.org"),
        ("HF_ENDPOINT", "hf_endpoint", "https://mirror.example.org"),
    ],
)
def test_the_plain_names_of_marketplaces_are_read(variable: str, name: str, value: str) -> None:
    assert getattr(settings.load({}, {variable: value}).settings, name) == value


def test_vasts_button_and_the_hubs_token_are_secrets() -> None:
    found = settings.load({}, {"OPEN_BUTTON_TOKEN": "b1tton", "HF_TOKEN": "hf_s3cret"})
    assert found.settings.token is not None
    assert found.settings.token.get_secret_value() == "b1tton"
    written = f"{found!r} {found.shown()} {found.settings.model_dump_json()}"
    assert "b1tton" not in written
    assert "hf_s3cret" not in written
    assert found.shown()["hf_token"] == {"value": "********", "source": "environment HF_TOKEN"}


def test_lists_and_switches_come_from_variables_too() -> None:
    found = settings.load(
        {}, {"KINOKIT_MIRRORS": "https://a.org, https://b.org", "KINOKIT_VERIFY": "true"}
    ).settings
    assert found.mirrors == ("https://a.org", "https://b.org")
    assert found.verify is True


def test_all_mistakes_of_all_sources_are_told_at_once(empty_folder: Path) -> None:
    file(empty_folder, "service: web\nprot: 8000\nmirrors: [ftp://x]\n")
    with pytest.raises(BadSettings) as error:
        settings.load(
            {"port": 99999}, {"PLATFORM": "moon", "KINOKIT_IDLE_STOP_MINUTES": "-5", "KINOKIT_MODLE": "x"}
        )
    assert error.value.problems == (
        "environment KINOKIT_MODLE: no such setting, did you mean KINOKIT_MODEL?",
        "service (kinokit.yaml): input should be 'api' or 'ui', got 'web'",
        "port (flag --port): input should be less than or equal to 65535, got 99999",
        "platform (environment PLATFORM): must be one of "
        "clore, runpod, runpod-serverless, vast, docker, bare, got 'moon'",
        "mirrors (kinokit.yaml): must begin with http:// or https://: ftp://x, got ['ftp://x']",
        "idle_stop_minutes (environment KINOKIT_IDLE_STOP_MINUTES): input should be greater than 0, got '-5'",
        "kinokit.yaml, line 2, prot: unknown key, did you mean port?",
    )
    assert error.value.problem.startswith("the configuration has 7 mistakes:")


@pytest.mark.parametrize(("name", "text"), [("KINOKIT_MAX_QUEUED", "many"), ("KINOKIT_KEEP_DAYS", "-1")])
def test_a_setting_that_is_no_number_is_named(name: str, text: str) -> None:
    with pytest.raises(BadSettings, match=name):
        settings.load({}, {name: text})


def test_secrets_are_revealed_to_the_kits_own_processes_alone() -> None:
    chosen = settings.load({}, {"KINOKIT_DATABASE_URL": "postgresql://u:pw@h/d"}).settings
    assert "pw" not in f"{chosen!r} {chosen.model_dump_json()}"
    assert Settings.model_validate(chosen.revealed()) == chosen


def test_a_wrong_secret_is_not_shown(empty_folder: Path) -> None:
    path = file(empty_folder, "hf_token: [hf_s3cret]\n")
    with pytest.raises(BadSettings) as error:
        settings.load({}, {}, path)
    assert "hf_s3cret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("port: [8000", "not valid YAML"),
        ("- port", "must be lines of"),
        ("port: 1\nport: 2\n", "line 2, port: is written twice"),
    ],
)
def test_a_bad_file_is_named_with_its_line(empty_folder: Path, text: str, told: str) -> None:
    path = file(empty_folder, text)
    with pytest.raises(BadSettings, match=told):
        settings.load({}, {}, path)


def test_a_file_that_was_asked_for_must_be_there(tmp_path: Path) -> None:
    for flags in ({"file": tmp_path / "none.yaml", "env": {}}, {"env": {"KINOKIT_CONFIG": "none.yaml"}}):
        with pytest.raises(BadSettings, match=r"none\.yaml does not exist"):
            settings.load({}, **flags)


def test_an_empty_file_is_no_mistake(empty_folder: Path) -> None:
    assert settings.load({}, {}, file(empty_folder, "# nothing yet\n")).settings == Settings()


def test_variables_that_are_not_settings_are_left_alone() -> None:
    settings.load(
        {}, {"KINOKIT_SOURCE": "git", "KINOKIT_HOME": "/opt", "KINOKIT_SOMETHING_ELSE": "1", "PATH": "/bin"}
    )


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in Settings.model_fields.values())


def test_the_kits_own_names_win_over_the_marketplaces() -> None:
    env = {"KINOKIT_PLATFORM": "vast", "PLATFORM": "bare", "KINOKIT_PUBLIC_URL": "https://x.org"}
    here = location.of(settings.load({}, env).settings, env)
    assert (here.platform.NAME, here.public_url) == ("vast", "https://x.org")


def test_an_address_in_the_file_tells_the_platform_as_a_variable_does(empty_folder: Path) -> None:
    path = file(empty_folder, "public_url: https://ab12.us.clorecloud.net\n")
    assert location.of(settings.load({}, {}, path).settings, {}).platform.NAME == "clore"


def test_the_site_follows_the_settings_and_then_the_platform() -> None:
    env = {"RUNPOD_POD_ID": "w3xyz"}
    here = location.of(Settings(port=9000), env)
    assert (here.platform.NAME, str(here.data_dir)) == ("runpod", "/workspace/kinokit/boxes/w3xyz")
    assert here.public_url == "https://w3xyz-9000.proxy.runpod.net"
    told = location.of(Settings(platform="bare", data_dir=Path("/data"), public_url="https://x.org"), env)
    assert (told.platform.NAME, str(told.data_dir), told.public_url) == ("bare", "/data", "https://x.org")


@pytest.mark.parametrize(
    "env",
    [
        {  # of a Service called kinokit
            "KINOKIT_PORT": "tcp://10.96.12.7:8000",
            "KINOKIT_SERVICE_HOST": "10.96.12.7",
            "KINOKIT_SERVICE_PORT": "8000",
            "KINOKIT_SERVICE_PORT_HTTP": "8000",
            "KINOKIT_PORT_8000_TCP": "tcp://10.96.12.7:8000",
            "KINOKIT_PORT_8000_TCP_PROTO": "tcp",
            "KINOKIT_PORT_8000_TCP_PORT": "8000",
            "KINOKIT_PORT_8000_TCP_ADDR": "10.96.12.7",
        },
        {"KINOKIT_PORT": "udp://[fd00::1]:8000"},
        {"KINOKIT_SERVICE_PORT": "tcp://10.96.0.9:80", "KINOKIT_SERVICE_SERVICE_HOST": "10.96.0.9"},
        {"KINOKIT_QUEUE_PORT": "tcp://10.96.0.9:80"},  # one letter from a setting's name
    ],
)
def test_what_kubernetes_says_of_its_services_is_no_setting_and_no_mistake(env: Mapping[str, str]) -> None:
    assert set(settings.load({}, env).sources.values()) == {"default"}
    assert settings.load({}, {**env, "PORT": "9001"}).settings.port == 9001


def test_a_port_that_is_no_number_is_still_a_mistake() -> None:
    with pytest.raises(BadSettings, match="KINOKIT_PORT"):
        settings.load({}, {"KINOKIT_PORT": "http://10.96.12.7:8000"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("results_name", "{date}"),  # every clip of a day under one name
        ("results_name", "../{id}"),
        ("results_name", "/{id}"),
        ("results_name", "{id}/"),
        ("results_name", "{id.__class__}-{id}"),
        ("results_name", "{host}-{id}"),
        ("results_link_hours", "169"),
        ("webhook_url", "https://me:pass@studio.example/"),
        ("webhook_events", "video.exploded"),
    ],
)
def test_a_result_that_could_go_nowhere_is_a_mistake(name: str, value: str) -> None:
    with pytest.raises(BadSettings, match=name):
        settings.load({}, {f"KINOKIT_{name.upper()}": value})


def test_a_webhook_is_set_by_variables() -> None:
    env = {
        "KINOKIT_WEBHOOK_EVENTS": "video.queued, video.failed",
        "KINOKIT_WEBHOOK_SECRET": " whsec_c2VjcmV0 ",
    }
    chosen = settings.load({}, env)
    assert chosen.settings.webhook_events == ("video.queued", "video.failed")
    assert chosen.settings.revealed()["webhook_secret"] == "whsec_c2VjcmV0"
    assert chosen.shown()["webhook_secret"]["value"] == "********"
    with pytest.raises(BadSettings, match="base64 after whsec_") as told:
        settings.load({}, {"KINOKIT_WEBHOOK_SECRET": "whsec_n0t!base64"})
    assert "n0t" not in str(told.value)
