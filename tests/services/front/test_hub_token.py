"""The token of a gated model, from the page to the agent."""

from __future__ import annotations

import pytest

from bootstrap import data_directory
from tests.services.front.running import Front

ASKS = {"problem": "a/b is gated", "fix": "accept the licence", "page": "https://hub.example/a/b"}


@pytest.fixture
def waiting(bare: Front) -> Front:
    bare.boot(state="fetching", phases=[], findings=[], failure=None, asks=ASKS)
    return bare


def test_the_agent_finds_it_in_a_file_that_nobody_else_reads(waiting: Front) -> None:
    assert waiting.people.post("/hub-token", json={"token": " hf_good\n"}).status_code == 204
    path = waiting.data_dir / data_directory.TYPED_BY_VISITOR
    assert path.read_text() == "hf_good"
    assert path.stat().st_mode & 0o777 == 0o600


def test_only_people_who_signed_in_may_give_it(waiting: Front) -> None:
    for client in (waiting.anybody, waiting.worker.http):
        answer = client.post(f"{waiting.url}/hub-token", json={"token": "hf_good"})
        assert answer.status_code == 401
    foreign = {"Sec-Fetch-Site": "cross-site", "Authorization": ""}
    assert waiting.people.post("/hub-token", json={"token": "x"}, headers=foreign).status_code in (401, 403)
    assert not (waiting.data_dir / data_directory.TYPED_BY_VISITOR).exists()


def test_nobody_is_asked_for_it_otherwise(bare: Front) -> None:
    bare.boot(state="fetching", phases=[], findings=[], failure=None, asks=None)
    assert bare.people.post("/hub-token", json={"token": "hf_good"}).status_code == 409
    assert not (bare.data_dir / data_directory.TYPED_BY_VISITOR).exists()


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b'{"token": ""}', b'{"token": 5}', b"hf_s3cret", b'{"token": "' + b"x" * 5000]
)
def test_what_is_no_token_is_refused_and_not_repeated(waiting: Front, body: bytes) -> None:
    answer = waiting.people.post("/hub-token", content=body)
    assert answer.status_code == 400 and "s3cret" not in answer.text
    assert not (waiting.data_dir / data_directory.TYPED_BY_VISITOR).exists()
