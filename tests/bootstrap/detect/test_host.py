"""A renter of some of a host's GPUs is granted that share of its memory and cores."""

from __future__ import annotations

from pathlib import Path

import pytest

from bootstrap.detect import host, nvidia
from bootstrap.detect.cgroup import UNKNOWN, Limits

GIB = 1024**3
WHOLE = Limits(64 * GIB, 50 * GIB, None, 32, None)


@pytest.mark.parametrize(
    ("here", "of_host", "ram_gib", "cores", "share"),
    [
        (1, 8, 8, 4, 1 / 8),
        (2, 8, 16, 8, 1 / 4),
        (7, 8, 50, 28, 7 / 8),  # of its 56 GiB 50 are free
        (8, 8, 50, None, None),
        (1, 1, 50, None, None),
        (0, 8, 50, None, None),  # not rented, or no card at all
        (2, 1, 50, None, None),  # the bus shows less than the driver, as in WSL2
    ],
)
def test_memory_and_cores_by_the_share_of_gpus(
    here: int, of_host: int, ram_gib: int, cores: float | None, share: float | None
) -> None:
    given = host.granted(WHOLE, cards_here=here, cards_of_host=of_host, host_bytes=64 * GIB)
    assert given.share == share
    assert given.limits.ram_available_bytes == ram_gib * GIB
    assert given.limits.cpu_quota == cores


def test_a_limit_of_the_container_is_believed() -> None:
    limits = Limits(24 * GIB, 20 * GIB, 6.0, 32, None)
    assert host.granted(limits, cards_here=1, cards_of_host=8, host_bytes=64 * GIB).limits == limits


def test_what_is_not_known_stays_unknown() -> None:
    assert host.granted(UNKNOWN, cards_here=1, cards_of_host=8, host_bytes=64 * GIB).limits == UNKNOWN
    assert host.numa_nodes(Path("/nowhere")) is None
    assert host.shared_memory_bytes(Path("/nowhere")) is None


def test_cards_are_counted_on_the_bus_also_those_of_other_renters(tmp_path: Path) -> None:
    for number, (vendor, kind) in enumerate(
        [("10de", "030000"), ("10de", "030200"), ("10de", "040300"), ("10de", "068000"), ("1002", "030000")]
    ):
        device = tmp_path / f"bus/pci/devices/0000:0{number}:00.0"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"0x{vendor}\n")
        (device / "class").write_text(f"0x{kind}\n")
    assert nvidia.cards_of_host(tmp_path) == 2
    assert nvidia.cards_of_host(tmp_path / "nowhere") == 0
