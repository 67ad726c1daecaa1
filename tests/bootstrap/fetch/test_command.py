"""``kinokit fetch`` as a person or a program runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from tests.bootstrap.fetch.conftest import FILES, MIB, Model
from tests.support.waiting import wait_for


def start(model: Model) -> subprocess.Popen[str]:
    manifest = model.store.parent / "mine.yaml"
    whole = model.manifest.model_copy(update={"components": {"pipeline": "."}})
    manifest.write_text(whole.model_dump_json(exclude_unset=True))
    command = [sys.executable, "-m", "services.cli", "fetch", "--model", str(manifest), "--json"]
    command += ["--data-dir", str(model.store.parent)]
    env = os.environ | {"HF_ENDPOINT": model.server.endpoint}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def test_ctrl_c_says_that_what_arrived_is_kept_and_the_next_one_goes_on(model: Model) -> None:
    model.server.bytes_per_second = 2 * MIB
    first = start(model)
    wait_for(lambda: sum(each.sent for each in model.server.seen) > 4 * MIB)
    first.send_signal(signal.SIGINT)
    _, text = first.communicate(timeout=60)
    assert first.returncode == 130
    assert "what has arrived is kept" in text
    model.server.bytes_per_second = None
    second = start(model)
    out, text = second.communicate(timeout=60)
    assert second.returncode == 0, text
    found = json.loads(out)
    assert found["bytes"] == sum(map(len, FILES.values()))
    assert found["fetched_bytes"] < found["bytes"]
