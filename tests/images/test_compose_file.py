"""What compose.yaml hands to the container."""

from __future__ import annotations

from typing import Any

import yaml

from bootstrap.settings import Settings
from tests.images.engine import ROOT

# Said by compose.yaml itself, of the command that starts a service, or of who rents a box.
NOT_PASSED = {"model", "service", "host", "port", "data_dir", "platform", "detach", "box"}
OF_RENTING = {"source", "script_url", "box_image"}


def service() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["kinokit"]
    return found


def test_every_setting_and_every_proxy_of_the_shell_reaches_the_container() -> None:
    passed = {name for name, value in service()["environment"].items() if value is None}
    settings = Settings.model_fields.keys() - NOT_PASSED - OF_RENTING
    assert {f"KINOKIT_{name.upper()}" for name in settings} <= passed
    assert {"HF_TOKEN", "HF_ENDPOINT", "HTTPS_PROXY", "NO_PROXY", "https_proxy"} <= passed


def test_the_port_is_published_where_host_says() -> None:
    assert service()["ports"] == ["${HOST:-0.0.0.0}:${PORT:-8000}:8000"]
