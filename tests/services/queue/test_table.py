"""The database over the years: written by an older kit, by a newer one, damaged, full."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Column, MetaData, Table, create_engine, insert

from bootstrap.errors import KitError
from services.queue import rows, table
from services.queue.job import Abilities, NewJob
from services.queue.queue import Queue

LATER = (
    "eta_seconds",
    "fingerprint",
    "content_name",
    "kind",
    "parent",
    "min_vram_gib",
)  # as if these had been added since


def written_by_an_older_kit(url: str) -> None:
    """A table without some columns and without a version, with one job that waits."""
    known = [_copied(each) for each in table.jobs.columns if each.name not in LATER]
    older = Table("jobs", MetaData(), *known)
    engine = create_engine(url)
    older.create(engine)
    row = rows.of(NewJob("old", "demo", {"seed": 1}), now=1_800_000_000.0)
    with engine.begin() as connection:
        connection.execute(insert(older).values({name: row[name] for name in row if name not in LATER}))
    engine.dispose()


def _copied(column: Column[object]) -> Column[object]:
    return Column(column.name, column.type, primary_key=column.primary_key, nullable=column.nullable)


def test_a_database_of_an_older_kit_is_brought_up_to_date_and_keeps_its_jobs(url: str) -> None:
    written_by_an_older_kit(url)
    queue = Queue(url)
    job = queue.claim("w", Abilities(("demo",)))
    assert job is not None
    assert (job.id, job.eta_seconds, job.fingerprint) == ("old", None, None)
    assert (job.kind, job.parent, job.min_vram_gib) == ("clip", None, None)
    assert queue.beat("old", job.token, eta_seconds=3.5) is not None
    assert queue.complete("old", job.token, content_name="content-1.mp4", metadata={})
    queue.enqueue(NewJob("new", "demo", {}, min_vram_gib=8.0), max_queued=10)
    queue.close()
    again = Queue(url)
    assert [job.content_name for job in again.page(order="asc")[0]] == ["content-1.mp4", None]
    again.close()


def test_fronts_that_start_together_bring_it_up_to_date_once(url: str) -> None:
    written_by_an_older_kit(url)
    with ThreadPoolExecutor(4) as pool:
        queues = list(pool.map(lambda _: Queue(url), range(4)))
    assert [queue.counts()["queued"] for queue in queues] == [1] * 4
    for queue in queues:
        queue.close()


def test_a_database_of_a_newer_kit_is_refused_with_both_versions_and_left_alone(url: str) -> None:
    Queue(url).close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(insert(table.versions).values(version=table.VERSION + 1))
    engine.dispose()
    with pytest.raises(KitError, match=f"version {table.VERSION + 1}, this kit reads {table.VERSION}"):
        Queue(url)


def test_a_damaged_database_is_called_damaged(tmp_path: Path) -> None:
    (tmp_path / "jobs.db").write_bytes(b"no database, but long enough to be one" * 200)
    with pytest.raises(KitError, match="database is damaged") as told:
        Queue(f"sqlite:///{tmp_path / 'jobs.db'}")
    assert "the clips stay" in told.value.fix


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="kinokit-small-"))
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_full_disk_is_called_full_and_not_a_database_that_is_away(small_disk: Path) -> None:
    queue = Queue(f"sqlite:///{small_disk / 'jobs.db'}")
    with pytest.raises(OSError, match="the disk is full"):
        for number in range(100):
            queue.enqueue(NewJob(f"job-{number}", "demo", {}, prompt="x" * 30_000), max_queued=1000)
    assert queue.counts()["queued"] > 3  # what was taken in before is still there
    queue.close()


def test_a_library_of_any_size_is_looked_through(url: str) -> None:
    queue = Queue(url)
    queue.enqueue(NewJob("kept", "demo", {}), max_queued=10)
    many = {f"gone-{number}" for number in range(70_000)}
    assert queue.missing(many | {"kept"}) == many
    queue.forget(many | {"kept"})
    assert queue.get("kept") is None
    queue.close()
