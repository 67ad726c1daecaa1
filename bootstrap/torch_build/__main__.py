"""``python -m bootstrap.torch_build``: the file below requirements/ that brings the torch for this machine.

For shell scripts, before anything is installed. Where no torch runs on the cards, the reason is told on
standard error and the file is the one for the CPU.
"""

from __future__ import annotations

import platform
import sys

from bootstrap.torch_build import decision, driver
from bootstrap.torch_build.builds import CPU_REQUIREMENTS


def main() -> None:
    cards = driver.cards()
    if not cards:
        print(CPU_REQUIREMENTS)
        return
    here = decision.Driver(cuda=driver.version())
    decided = decision.decide(here, cards, None, host=platform.machine())
    if decided.problem is not None:
        print(f"note: {decided.problem.problem}\n  fix: {decided.problem.fix}", file=sys.stderr)
    print(decided.build.requirements if decided.build else CPU_REQUIREMENTS)


if __name__ == "__main__":
    main()
