"""A token that is typed on the boot page while the fetch waits for it.

The front writes it into a file that its owner alone reads; the agent takes it within half a second, removes
the file and keeps the token in memory. A rented disk outlives its tenant, and files that are fetched need no
token again.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from bootstrap import data_directory, pasted_secret
from bootstrap.fetch import GateClosed
from bootstrap.launch.document import BootDocument

LOOK_SECONDS = 0.5


def wait_for(gate: GateClosed, document: BootDocument, data_dir: Path) -> str:
    """Ask on the boot page, and wait until somebody answers with what can be a token."""
    problem = gate.problem
    while True:
        document.ask({"problem": problem, "fix": gate.fix, "page": gate.page, "host": gate.host or ""})
        text = _typed(data_dir / data_directory.TYPED_BY_VISITOR)
        try:
            token = pasted_secret.cleaned(text)
        except ValueError as error:
            problem = f"what was typed is no token: it {error}"
            continue
        if token:
            document.ask(None)
            return str(token)


def _typed(path: Path) -> str:
    while True:
        with suppress(OSError):  # not there yet
            text = path.read_text(encoding="utf-8", errors="replace")
            path.unlink()
            return text
        time.sleep(LOOK_SECONDS)
