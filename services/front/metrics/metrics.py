"""``GET /metrics``: what Prometheus collects. Looked up when it asks; before, it costs nothing."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response

from bootstrap.errors import KitError
from services.front.context import Context, Shared
from services.front.metrics import gpus
from services.front.metrics.gpus import Reading
from services.front.metrics.tally import Distribution, Tally
from services.queue.job import DatabaseDown
from services.queue.selection import Standing

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

PATH = "/metrics"
STATES = ("loading", "ready", "failed")
QUEUE_SECONDS = 3.0  # a database that takes longer is told as one that does not answer

router = APIRouter(tags=["health"])


@router.get(PATH, summary="For Prometheus", response_class=Response)
async def metrics(request: Request, context: Shared) -> Response:
    from prometheus_client import CollectorRegistry, ProcessCollector  # most fronts are never asked
    from prometheus_client.exposition import choose_encoder

    await context.fleet.refresh()
    standing, cards = await asyncio.gather(_standing(context), asyncio.to_thread(gpus.read))
    boot = context.boot.document()
    families = [
        *_of_queue(standing),
        *_of_requests(context.tally),
        *_of_clips(context.tally),
        *_of_workers(context),
        *_of_gpus(cards),
        *_of_box(boot, await context.spending.read(boot) if standing else None),
        *_of_deliveries(context, standing),
    ]
    registry = CollectorRegistry(auto_describe=False)
    ProcessCollector(registry=registry)
    registry.register(_Found(families))
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})


class _Found:
    """What was collected already, as a registry wants it."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _standing(context: Context) -> Standing | None:
    try:
        asked = context.ask(lambda queue: queue.operations.standing())
        return await asyncio.wait_for(asked, QUEUE_SECONDS)
    except (DatabaseDown, KitError, TimeoutError):
        return None


def _gauge(name: str, meaning: str, values: Mapping[Any, float], *labels: str) -> Metric:
    from prometheus_client.metrics_core import GaugeMetricFamily

    family = GaugeMetricFamily(f"kinokit_{name}", meaning, labels=labels)
    for value in sorted(values):
        family.add_metric(value, values[value])
    return family


def _counter(name: str, meaning: str, values: Mapping[Any, float], *labels: str) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily

    family = CounterMetricFamily(f"kinokit_{name}", meaning, labels=labels)
    for value in sorted(values):
        family.add_metric(value, values[value])
    return family


def _histogram(name: str, meaning: str, values: Mapping[Any, Distribution], *labels: str) -> Metric:
    from prometheus_client.metrics_core import HistogramMetricFamily

    family = HistogramMetricFamily(f"kinokit_{name}", meaning, labels=labels)
    for value in sorted(values):
        family.add_metric(value, values[value].buckets(), values[value].total)
    return family


def _by_one(values: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    return {(label,): value for label, value in values.items()}


def _of_queue(standing: Standing | None) -> list[Metric]:
    """Nothing but that it is away, where the database does not answer: an old figure would look like news."""
    counts = _by_one(standing.counts) if standing else {}
    oldest = {(): standing.oldest_queued_seconds} if standing else {}
    return [
        _gauge("database_up", "1 while the queue's database answers.", {(): float(standing is not None)}),
        _gauge("jobs", "Jobs that are kept, by status.", counts, "status"),
        _gauge("queue_oldest_seconds", "How long the oldest waiting job has waited.", oldest),
        _gauge("queue_paused", "1 while the queue is paused.", {(): standing.paused} if standing else {}),
    ]


def _of_requests(tally: Tally) -> list[Metric]:
    return [
        _counter("http_requests", "Answers.", dict(tally.requests), "method", "route", "status"),
        _histogram(
            "http_request_seconds", "Until an answer ends.", dict(tally.request_seconds), "method", "route"
        ),
        _counter("refusals", "Requests that were refused, by error code.", _by_one(tally.refusals), "code"),
        _gauge("event_streams", "Open streams of server-sent events.", {(): tally.open_streams}),
    ]


def _of_clips(tally: Tally) -> list[Metric]:
    return [
        _counter("videos_created", "Videos that were asked for.", _by_one(tally.created), "model"),
        _counter("videos_ended", "Finished attempts, by how.", dict(tally.ended), "model", "outcome"),
        _histogram("clip_seconds", "From claim to clip.", _by_one(tally.clip_seconds), "model"),
        _histogram("clip_stage_seconds", "Of a clip, by stage.", dict(tally.stage_seconds), "model", "stage"),
        _counter("gpu_seconds", "GPU time of finished attempts.", _by_one(tally.gpu_seconds), "model"),
        _counter("clip_dollars", "Its price in dollars.", _by_one(tally.dollars), "model"),
    ]


def _of_workers(context: Context) -> list[Metric]:
    plan = context.boot.plan()
    version = {(plan.kit_version,): 1.0} if plan else {}
    states = Counter(str(report.state) for report in context.workers.present())
    return [
        _gauge("workers", "Workers that were heard lately.", {(s,): states[s] for s in STATES}, "state"),
        _gauge("build_info", "Always 1.", version, "version"),
    ]


def _of_gpus(cards: Iterable[Reading]) -> list[Metric]:
    def of(name: str) -> dict[tuple[str, ...], float]:
        found = {(str(card.index), card.name): getattr(card, name) for card in cards}
        return {labels: float(value) for labels, value in found.items() if value is not None}

    cards = list(cards)
    labels = ("gpu", "name")
    return [
        _gauge("gpu_memory_used_bytes", "GPU memory in use.", of("memory_used_bytes"), *labels),
        _gauge("gpu_memory_total_bytes", "GPU memory.", of("memory_total_bytes"), *labels),
        _gauge("gpu_temperature_celsius", "Of the GPU.", of("temperature_celsius"), *labels),
        _gauge("gpu_utilisation_ratio", "Part of the time in which it computes.", of("busy"), *labels),
        _gauge("gpu_power_watts", "What it draws.", of("power_watts"), *labels),
    ]


def _of_box(boot: Mapping[str, Any], spent: Mapping[str, float] | None) -> list[Metric]:
    fetch: Mapping[str, Any] = next((p for p in boot["phases"] if p.get("name") == "fetch"), {})
    done, total = fetch.get("bytes_done"), fetch.get("bytes_total")
    split = {("clips",): spent["clips_dollars"], ("other",): spent["other_dollars"]} if spent else {}
    hourly = {(): spent["hourly_cost"]} if spent else {}
    return [
        _gauge("ready", "1 while jobs are run.", {(): float(boot["state"] == "ready")}),
        _gauge("download_bytes", "Of the model, so far.", {} if done is None else {(): done}),
        _gauge("download_total_bytes", "Of the model.", {} if total is None else {(): total}),
        _gauge("box_hourly_dollars", "What the box costs an hour.", hourly),
        _gauge("box_dollars", "What it has cost since its start.", split, "spent_on"),
    ]


def _of_deliveries(context: Context, standing: Standing | None) -> list[Metric]:
    told = context.outbox.public() if context.outbox else None
    waiting = {(): float(told["waiting"])} if told else {}
    failing = {(): float(told["failure"] is not None)} if told else {}
    webhooks = _by_one(standing.deliveries) if standing else {}
    return [
        _gauge("webhook_deliveries", "Webhook messages that are kept, by state.", webhooks, "state"),
        _gauge("copies_waiting", "Clips that are to be copied out of the box.", waiting),
        _gauge("copies_failing", "1 while the last copy has failed.", failing),
    ]
