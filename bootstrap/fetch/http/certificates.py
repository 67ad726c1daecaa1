"""Whose certificates are trusted."""

from __future__ import annotations

import ssl
from functools import cache
from pathlib import Path


@cache
def context() -> ssl.SSLContext:
    """The system's certificates (``SSL_CERT_FILE`` counts); certifi's on an image that has none."""
    made = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not made.cert_store_stats()["x509_ca"] and not (paths.capath and any(Path(paths.capath).iterdir())):
        import certifi  # comes with httpx; needed only on images without ca-certificates

        made.load_verify_locations(certifi.where())
    return made
