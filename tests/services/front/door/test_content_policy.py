"""Every answer says what a browser may do with it. That the pages still work: tests/services/studio."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.front.settings import Settings
from tests.services.front.running import Front, running

HTML = {"Accept": "text/html"}


def policy(front: Front, path: str, **headers: str) -> dict[str, str]:
    answer = front.people.get(path, headers=headers)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")
    rules = (rule.strip().partition(" ") for rule in answer.headers["content-security-policy"].split(";"))
    return {name: value for name, _, value in rules}


@pytest.mark.parametrize(
    "path",
    ["/healthz", "/readyz", "/ping", "/status", "/v1/videos", "/nowhere", "/internal/claim", "/studio"],
)
def test_no_answer_is_guessed_at_or_shown_in_a_frame(svd: Front, path: str) -> None:
    assert policy(svd, path)["frame-ancestors"] == "'none'"
    assert svd.people.get(path).headers["x-frame-options"] == "DENY"
    assert svd.people.post(path).headers["x-frame-options"] == "DENY"


def test_an_answer_that_a_bug_made_says_so_too(svd: Front, photo: bytes) -> None:
    (svd.data_dir / "jobs").write_text("no folder")  # nothing that a request can be blamed for
    answer = svd.people.post("/v1/videos", files={"input_reference": photo})
    assert answer.status_code == 500
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


def test_the_boot_page_runs_its_own_script_and_no_other(svd: Front) -> None:
    rules = policy(svd, "/")
    assert rules["default-src"] == "'none'"
    assert rules["script-src"].startswith("'sha256-")
    assert rules["connect-src"] == "'self'"
    assert "unsafe" not in rules["script-src"]


def test_the_sign_in_page_runs_none(svd: Front) -> None:
    answer = svd.anybody.get("/", headers=HTML)
    assert answer.status_code == 401
    assert "script-src 'none'" in answer.headers["content-security-policy"]
    assert "form-action 'self'" in answer.headers["content-security-policy"]


def test_what_a_user_gave_or_made_runs_nothing(svd: Front, photo: bytes, clip: bytes) -> None:
    svd.people.post("/v1/videos", files={"input_reference": photo}).raise_for_status()
    name = svd.worker.make(clip)
    for variant in ("video", "thumbnail", "spritesheet", "input"):
        rules = policy(svd, f"/v1/videos/{name}/content?variant={variant}")
        assert rules["sandbox"] == "allow-same-origin", "no scripts, no forms, no windows"
        assert "script-src" not in rules
        assert rules["default-src"] == "'none'"


def test_who_may_show_it_in_a_frame_is_a_setting(tmp_path: Path) -> None:
    with running(Settings(tmp_path, frame_ancestors=("https://portal.example.org",))) as front:
        assert policy(front, "/healthz")["frame-ancestors"] == "'self' https://portal.example.org"
        assert "x-frame-options" not in front.anybody.get("/healthz").headers
