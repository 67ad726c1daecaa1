"""A manifest of one's own on a rented box: what is printed for a marketplace boots it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

from tests import hub
from tests.journeys.kit import Kit
from tests.journeys.test_timeline import remote_demo
from tests.support.waiting import wait_for

PUBLISHED = ("--source", "https://example.org/kit.whl")


def test_the_printed_variables_boot_a_model_that_the_kit_does_not_know(tmp_path: Path) -> None:
    with hub.serve() as server:
        path = remote_demo(tmp_path, server)
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "name": "of-mine"}))
        kit = Kit(tmp_path)
        command = [sys.executable, "-m", "services.cli"]
        options = ["--platform", "clore", "--model", str(path), "--service", "api", "--port", str(kit.port)]
        asked = [*command, "startup", *options, *PUBLISHED, "--json"]
        printed = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
        path.unlink()
        env = {**os.environ, **json.loads(printed)["body"]["env"]}
        env |= {"KINOKIT_DATA_DIR": str(kit.data_dir), "KINOKIT_HOST": "127.0.0.1", "KINOKIT_AUTH": "on"}
        del env["PLATFORM"]  # this machine's address is known
        done = subprocess.run(
            [*command, "up", "--detach", "--hf-endpoint", server.endpoint],
            env=env, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        try:
            assert done.returncode == 0, done.stderr
            kit.sign_in()
            wait_for(lambda: kit.http.get("/status").json()["plan"]["model"] == "of-mine")
            kit.ready()
        finally:
            kit.close()
