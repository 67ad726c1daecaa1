"""How many threads libraries may start: rented hosts show hundreds of cores and grant a few."""

from __future__ import annotations

import math
from collections.abc import Mapping

from bootstrap.detect.machine import Machine

# Without these, pools take a thread for each visible core. TOKIO is the hub's transfer library.
POOLS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "TOKIO_WORKER_THREADS",
)
MOST = 16  # more does not help a worker whose work is on the GPU
PIDS_PER_POOL_THREAD = 32  # of pids.max: several pools, in several processes, and the service's own threads


def count(machine: Machine, *, workers: int = 1) -> int:
    """Threads for each pool of one worker, by the CPU quota and pids.max; at least one."""
    cores = machine.cpu_quota or machine.cpu_visible or 1
    if machine.cpu_visible:
        cores = min(cores, machine.cpu_visible)
    threads = min(MOST, math.floor(cores / workers))
    if machine.pids_max:
        threads = min(threads, machine.pids_max // (PIDS_PER_POOL_THREAD * workers))
    return max(1, threads)


def environment(threads: int, env: Mapping[str, str]) -> dict[str, str]:
    """The variables to set before anything heavy is imported; what the user has set stays."""
    caps = {pool: env.get(pool) or str(threads) for pool in POOLS}
    return {**caps, "TOKENIZERS_PARALLELISM": env.get("TOKENIZERS_PARALLELISM") or "false"}
