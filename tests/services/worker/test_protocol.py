"""Messages between processes: what one end sends is what the other end reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from services.worker import protocol
from services.worker.protocol import (
    Cancelled,
    CancelRun,
    Clip,
    Done,
    Failed,
    LoadFailed,
    Loading,
    Progress,
    Ready,
    Run,
    Span,
    Timings,
)

SPANS = (Span(name="imports", started_at=1.0, ended_at=2.5), Span(name="load", started_at=2.5, ended_at=None))
CLIP = Clip(
    model="m", profile="p", device="cpu", kit_version="1", seed=2**62, frames=14, bytes=9,
    timings={"total_seconds": 1.5}, peak_memory_bytes=2**40,
)  # fmt: skip


@pytest.mark.parametrize(
    "order",
    [Run(values={"width": 64, "prompt": "a “cat”\n猫"}, image=Path("in"), path=Path("a b.mp4")), CancelRun()],
    ids=lambda order: str(order.kind),
)
def test_an_order_arrives_as_it_was_sent(order: protocol.Order) -> None:
    line = protocol.encode(order)
    assert line.count(b"\n") == 1
    assert protocol.decode_order(line) == order


@pytest.mark.parametrize(
    "event",
    [
        Loading(detail="load", progress=0.5, timings=Timings(spans=SPANS)),
        Ready(detail="loaded", timings=Timings(load_seconds=1.5)),
        LoadFailed(problem="a", fix="b"),
        Progress(stage="sample", progress=1.0, eta_seconds=0.0),
        Done(clip=CLIP),
        Cancelled(),
        Failed(code="generation_failed", message="x", error_id="12ab"),
    ],
    ids=lambda event: str(event.kind),
)
def test_an_event_arrives_as_it_was_sent(event: protocol.Event) -> None:
    assert protocol.decode_event(protocol.encode(event)) == event


@pytest.mark.parametrize(
    "line",
    [b'{"kind": "progress", "stage": "sample"}', b'{"kind": "cancelled", "why": 1}', b'{"event": "done"}'],
)
def test_what_is_no_event_is_refused_where_it_arrives(line: bytes) -> None:
    with pytest.raises(ValidationError):
        protocol.decode_event(line)
