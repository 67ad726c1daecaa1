"""One line of the table: which files, over which link."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024**2
SETS = {"4x1GiB": [1024] * 4, "12x100MiB+3x1GiB": [100] * 12 + [1024] * 3}  # sizes in MiB
REPO, REVISION = "bench/model", "0" * 40


@dataclass(frozen=True)
class Case:
    """``gbit`` is None for a link without a cap; ``latency_ms`` is waited before each answer."""

    files: str
    gbit: float | None
    tls: bool
    latency_ms: int = 0

    @property
    def name(self) -> str:
        link = f"{self.gbit:g} Gbit/s" if self.gbit else "uncapped"
        late = f", {self.latency_ms} ms" if self.latency_ms else ""
        return f"{self.files}, {link}{late}, {'https' if self.tls else 'http'}"


def cases(*, capped: bool, late: bool, only: str | None) -> list[Case]:
    """All lines, or those whose name holds ``only``. Without root the link cannot be capped."""
    links: list[tuple[float | None, int]] = [(None, 0)]
    if capped:
        links = [(gbit, ms) for ms in ((0, 50) if late else (0,)) for gbit in (1.0, 4.0, 8.0)] + links
    found = [Case(files, gbit, tls, ms) for files in SETS for tls in (False, True) for gbit, ms in links]
    return [case for case in found if only is None or only in case.name]
