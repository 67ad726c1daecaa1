"""``kinokit key``: what it makes and ends counts in the front that runs, from the next request on."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from services.front.settings import Settings
from tests.services.front.running import running


def kinokit(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "services.cli", "key", *arguments, "--data-dir", str(data_dir)]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_a_key_is_made_listed_and_revoked_under_a_running_front(tmp_path: Path) -> None:
    limits = ("--rate", "60", "--quota", "50", "--quota", "2h", "--share", "0.2", "--expires", "30d")
    with running(Settings(tmp_path)) as front:
        made = kinokit(tmp_path, "add", "anna", "--scope", "make", "--scope", "read:all", *limits)
        assert made.returncode == 0, made.stderr
        secret = made.stdout.strip()

        def asked() -> int:
            headers = {"Authorization": f"Bearer {secret}"}
            return httpx.get(f"{front.url}/v1/videos", headers=headers, timeout=60).status_code

        assert asked() == 200
        (row,) = json.loads(kinokit(tmp_path, "list", "--json").stdout)
        assert (row["name"], row["scopes"], row["queue_share"]) == ("anna", ["make", "read:all"], 0.2)
        assert (row["clips_per_day"], row["gpu_seconds_per_day"]) == (50, 7200.0)
        assert row["expires_at"] == pytest.approx(row["created_at"] + 30 * 86400)
        assert row["last_used_at"] is not None
        listed = kinokit(tmp_path, "list").stdout
        assert "anna" in listed
        assert secret not in listed + json.dumps(row)
        assert kinokit(tmp_path, "revoke", "anna").returncode == 0
        assert asked() == 401


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "a b"), "name"),
        (("add", "x", "--scope", "root"), "scopes"),
        (("add", "x", "--expires", "soon"), "--expires 'soon' is no time"),
        (("add", "x", "--share", "2"), "queue_share"),
        (("revoke", "nobody"), "there is no key 'nobody'"),
    ],
)
def test_a_mistake_is_named_and_makes_nothing(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    done = kinokit(tmp_path, *arguments)
    assert (done.returncode, said in done.stderr, "Traceback" in done.stderr) == (1, True, False), done.stderr
    assert not (tmp_path / "keys.json").exists()
