from __future__ import annotations

import pytest

from bootstrap.detect import threads
from bootstrap.detect.machine import Machine


@pytest.mark.parametrize(
    ("quota", "visible", "pids", "workers", "count"),
    [
        (None, 2, None, 1, 2),
        (1.5, 64, None, 1, 1),
        (46, 384, 1024, 1, 16),  # the rented host that died of 363 threads
        (46, 384, 256, 1, 8),
        (46, 384, 1024, 4, 8),  # four workers share the processes that are allowed
        (0.5, 8, None, 1, 1),
        (None, None, None, 1, 1),
        (None, 128, 64, 8, 1),
        (64, 4, None, 1, 4),  # a quota larger than the cores that can be used
    ],
)
def test_threads_follow_the_quota_and_the_processes_that_are_allowed(
    quota: float | None, visible: int | None, pids: int | None, workers: int, count: int
) -> None:
    machine = Machine(cpu_quota=quota, cpu_visible=visible, pids_max=pids)
    assert threads.count(machine, workers=workers) == count


def test_every_pool_is_capped_and_what_the_user_set_stays() -> None:
    caps = threads.environment(4, {"OMP_NUM_THREADS": "1", "TOKIO_WORKER_THREADS": ""})
    assert caps["OMP_NUM_THREADS"] == "1"
    assert caps["TOKIO_WORKER_THREADS"] == caps["OPENBLAS_NUM_THREADS"] == "4"
    assert caps["TOKENIZERS_PARALLELISM"] == "false"
