"""A timeline for people and for trace viewers: text with bars, and Chrome's trace format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from bootstrap.terminal import UNITS

BAR = 40  # characters
NAME = 44  # a longer one loses its beginning: file names differ at their end


def text(boot: Mapping[str, Any]) -> list[str]:
    """The waterfall of a boot document; seconds count from the start of the command."""
    rows = boot.get("timeline") or []
    if not rows:
        return ["this boot has no timeline yet"]
    begin, end = _range(rows)
    width = min(NAME, max(len(row["name"]) for row in rows))
    track_width = max(len(row["track"]) for row in rows)
    lines = [_title(boot, begin)]
    header = f"{'':<{track_width}}  {'':<{width}}  {'start':>7}  {'took':>7}"
    lines.append(f"{header}  {'amount':>9}  {'rate':>11}  {_scale(end - begin)}")
    lines += [_line(row, begin, end, track_width, width) for row in rows]
    lines += prediction(boot)
    return lines


def prediction(boot: Mapping[str, Any]) -> list[str]:
    """What was predicted before the download, against what it was."""
    predicted = boot.get("prediction") or {}
    facts = measured(boot)
    rows = [
        (name, predicted.get(f"{name}_seconds"), facts.get(f"{name}_seconds"))
        for name in ("download", "load", "ready", "first_clip")
    ]
    known = [row for row in rows if row[1] is not None and row[2] is not None]
    if not known:
        return []
    lines = ["", f"{'':<12}{'predicted':>11}{'was':>10}"]
    return lines + [
        f"{name.replace('_', ' '):<12}{expected:>9.1f} s{was:>8.1f} s" for name, expected, was in known
    ]


def measured(boot: Mapping[str, Any]) -> dict[str, float]:
    """The seconds that a prediction speaks of, as they were: those that are over."""
    rows = [row for row in boot.get("timeline") or [] if row["ended_at"] is not None]
    if not rows:
        return {}
    begin, _ = _range(rows)
    waited = _waited(rows)
    took: dict[str, float] = {}
    for row in rows:
        seconds = row["ended_at"] - row["started_at"]
        match row["name"]:
            case "fetch":
                took["download_seconds"] = seconds
            case "ready":
                took["ready_seconds"] = row["ended_at"] - begin
            case "load" | "imports":
                key = f"{row['name']}_seconds"  # of the slowest worker, without its waits for files
                busy = seconds - waited.get(row["track"], 0.0) if row["name"] == "load" else seconds
                took[key] = max(took.get(key, 0.0), busy)
            case "first clip":
                took["first_clip_seconds"] = min(took.get("first_clip_seconds", seconds), seconds)
    return took


def _waited(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The seconds that each track spent waiting for a file, while it loaded those that were there."""
    seconds: dict[str, float] = {}
    for row in rows:
        if row["name"] == f"wait for {row['waited_for']}":
            took = row["ended_at"] - row["started_at"]
            seconds[row["track"]] = seconds.get(row["track"], 0.0) + took
    return seconds


def chrome(boot: Mapping[str, Any]) -> dict[str, Any]:
    """For chrome://tracing and ui.perfetto.dev: one line for each track, times in microseconds."""
    rows = boot.get("timeline") or []
    begin, end = _range(rows) if rows else (0.0, 0.0)
    tracks = list(dict.fromkeys(row["track"] for row in rows))
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": track}}
        for number, track in enumerate(tracks)
    ]
    lanes = _lanes(rows)
    for row, lane in zip(rows, lanes, strict=True):
        number = tracks.index(row["track"])
        if lane:  # what overlaps on one track would be drawn as nested: it gets a line of its own
            number = 1000 * (number + 1) + lane
            name = f"{row['track']} {lane + 1}"
            events.append({"ph": "M", "name": "thread_name", "pid": 1, "tid": number, "args": {"name": name}})
        stop = end if row["ended_at"] is None else row["ended_at"]
        args = {key: row[key] for key in ("bytes", "bytes_per_second", "waited_for", "detail") if row[key]}
        events.append(
            {
                "ph": "X",
                "cat": row["track"],
                "name": row["name"],
                "pid": 1,
                "tid": number,
                "ts": round((row["started_at"] - begin) * 1e6),
                "dur": round((stop - row["started_at"]) * 1e6),
                "args": args,
            }
        )
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"model": str(boot.get("model"))}}


def _lanes(rows: Sequence[Mapping[str, Any]]) -> list[int]:
    """For each span the first line of its track that is free when it begins."""
    busy: dict[str, list[float]] = {}
    lanes = []
    for row in rows:
        ends = busy.setdefault(row["track"], [])
        stop = float("inf") if row["ended_at"] is None else row["ended_at"]
        lane = next((number for number, until in enumerate(ends) if until <= row["started_at"]), len(ends))
        ends[lane : lane + 1] = [stop]
        lanes.append(lane)
    return lanes


def _range(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    begin = min(row["started_at"] for row in rows)
    return begin, max(max(row["started_at"], row["ended_at"] or 0.0) for row in rows)


def _title(boot: Mapping[str, Any], begin: float) -> str:
    ready = measured(boot).get("ready_seconds")
    outcome = f"ready after {ready:.1f} s" if ready is not None else str(boot.get("state", "starting"))
    failure = boot.get("failure")
    if failure and ready is None:
        outcome = f"failed: {failure['problem']}"
    when = datetime.fromtimestamp(begin).strftime("%Y-%m-%d %H:%M:%S")
    return f"{boot.get('model')} on {boot.get('platform')}, {when}, {outcome}"


def _scale(seconds: float) -> str:
    return f"0{f'{seconds:.1f} s':>{BAR - 1}}"


def _line(row: Mapping[str, Any], begin: float, end: float, track_width: int, width: int) -> str:
    stop = end if row["ended_at"] is None else row["ended_at"]
    took = "running" if row["ended_at"] is None else f"{stop - row['started_at']:.2f}"
    name = row["name"] if len(row["name"]) <= width else "…" + row["name"][1 - width :]
    rate = row["bytes_per_second"]
    parts = [
        f"{row['track']:<{track_width}}",
        f"{name:<{width}}",
        f"{row['started_at'] - begin:>7.2f}",
        f"{took:>7}",
        f"{_amount(row['bytes']) if row['bytes'] else '':>9}",
        f"{_amount(rate) + '/s' if rate else '':>11}",
        _bar(row["started_at"] - begin, stop - begin, end - begin),
    ]
    waited = f"  after {row['waited_for']}" if row["waited_for"] else ""
    broken = f"  {row['detail']}" if row["detail"] in ("broken off", "failed") else ""
    return ("  ".join(parts) + waited + broken).rstrip()


def _bar(start: float, stop: float, whole: float) -> str:
    """
    >>> _bar(0, 5, 10)
    '████████████████████                    '
    """
    scale = BAR / whole if whole else 0.0
    first = min(BAR - 1, int(start * scale))
    length = max(1, round(stop * scale) - first)
    return f"{' ' * first}{'█' * length:<{BAR - first}}"


def _amount(count: float) -> str:
    """
    >>> _amount(14.5e9)
    '13.5 GiB'
    """
    scale, unit = next(((size, name) for size, name in UNITS if count >= size), (1, "B"))
    return f"{count / scale:.1f} {unit}"
