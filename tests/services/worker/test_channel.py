"""What the GPU child reports: not too often, and never is the last thing lost."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator

import pytest

from services.worker.channel import REPORT_SECONDS, Channel
from services.worker.protocol import Cancelled, Loading


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(5)
    with ours, theirs:
        yield Channel(ours), theirs


def received(link: socket.socket, seconds: float) -> list[str]:
    """The details of the reports that come within so many seconds; the kind of any other event."""
    time.sleep(seconds)
    events = [json.loads(line) for line in link.recv(1 << 16).splitlines()]
    return [event.get("detail", event["kind"]) for event in events]


def test_the_last_report_before_a_silence_arrives(ends: tuple[Channel, socket.socket]) -> None:
    channel, link = ends
    for number in range(5):
        channel.report("load", Loading(detail=str(number)))
    assert received(link, 3 * REPORT_SECONDS) == ["0", "4"]


def test_no_report_comes_after_what_ended_its_work(ends: tuple[Channel, socket.socket]) -> None:
    channel, link = ends
    for number in range(3):
        channel.report("load", Loading(detail=str(number)))
    channel.send(Cancelled())
    assert received(link, 3 * REPORT_SECONDS) == ["0", "cancelled"]


def test_after_a_silence_a_report_is_sent_at_once(ends: tuple[Channel, socket.socket]) -> None:
    channel, link = ends
    channel.report("load", Loading(detail="first"))
    channel.report("load", Loading(detail="held"))
    assert received(link, 3 * REPORT_SECONDS) == ["first", "held"]
    time.sleep(REPORT_SECONDS)
    channel.report("load", Loading(detail="later"))
    assert received(link, 0.0) == ["later"]
