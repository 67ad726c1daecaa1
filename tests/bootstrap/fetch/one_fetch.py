"""A fetch as a process of its own, to be killed: one_fetch MANIFEST STORE HUB CONNECTIONS [DOWNLOADER]."""

from __future__ import annotations

import sys
from pathlib import Path

from bootstrap import fetch
from bootstrap.choose.manifest import Manifest

if __name__ == "__main__":
    manifest, store, endpoint, connections, *downloader = sys.argv[1:]
    fetch.fetch(
        Manifest.model_validate_json(Path(manifest).read_text()),
        store=Path(store),
        token=None,
        endpoint=endpoint,
        connections=int(connections),
        downloader=downloader[0] if downloader else "kinokit",
        report=lambda progress: None,
    )
