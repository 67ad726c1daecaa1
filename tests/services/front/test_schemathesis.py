"""schemathesis, by its own command: it reads /openapi.json and tries what people would not think of."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running

READS_PHOTOS = WAN | {"inputs": ("text", "image"), "optional_inputs": ("image",)}

pytestmark = pytest.mark.apart
SEED, CASES = "11", "12"  # the same cases in each run; so many for each route
LONGEST_SECONDS = 170
# Not asked: what the document cannot say. Each model has limits of its own: a value that is in the table's
# range may be too much for the model that runs. And text is read as the type of its field, as in forms.
LEFT_OUT = "positive_data_acceptance,negative_data_rejection"


# Bodies of the same fields as that of /v1/videos: the fields are gone through once.
# What is wrong on purpose comes from the coverage phase: mutated files stop schemathesis 4.32 itself.
CONFIGURATION = """
[phases.fuzzing]
generation.mode = "positive"

[[operations]]
include-path-regex = "/(sync|remix|extensions)$"
phases.coverage.enabled = false
"""


@pytest.fixture
def busy(tmp_path: Path, clip: bytes) -> Iterator[Front]:
    """A front whose worker makes each clip at once."""
    with running(Settings(tmp_path, max_queued=100_000)) as front:
        front.plan(READS_PHOTOS)
        front.boot(state="ready", phases=[], findings=[], failure=None)
        ends = threading.Event()

        def work() -> None:
            while not ends.is_set():
                front.worker.says("ready")
                job = front.worker.claim(1)
                if job is not None and front.worker.put(job, clip).is_success:
                    front.worker.finish(job)

        worker = threading.Thread(target=work)
        worker.start()
        yield front
        ends.set()
        worker.join()


def test_no_request_that_it_invents_finds_an_undocumented_answer(busy: Front, tmp_path: Path) -> None:
    (tmp_path / "schemathesis.toml").write_text(CONFIGURATION)
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{busy.url}/openapi.json",
        "--header", f"Authorization: Bearer {busy.token}", "--seed", SEED, "--max-examples", CASES,
        "--phases", "examples,coverage,fuzzing", "--exclude-checks", LEFT_OUT, "--workers", "2",
        "--request-timeout", "60", "--continue-on-failure", "--warnings", "off",
        "--exclude-path-regex", "characters|pause|drain",  # 501 for every model; then nothing is made
        "--generation-database", "none", "--suppress-health-check", "all", "--no-shrink",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONGEST_SECONDS)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    assert httpx.get(f"{busy.url}/healthz").status_code == 200
