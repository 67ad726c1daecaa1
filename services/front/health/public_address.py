"""Where people reach this box, learnt from the first visit: some marketplaces name it nowhere else.

Only a visitor who has signed in is believed: a Host header is easily made up, and the address is shown with
the token beside it. The agent reads the file and shows the address.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from starlette.requests import Request

from bootstrap import files
from bootstrap.data_directory import PUBLIC_URL


def learn(request: Request, data_dir: Path, domains: Sequence[str]) -> None:
    """Keep the address that this request came by, when it is new and under one of ``domains``."""
    host = request.headers.get("x-forwarded-host") or request.headers.get("host") or ""
    url = url_from_host(host, domains)
    file = data_dir / PUBLIC_URL
    if url and not (file.exists() and file.read_text() == url):
        files.replace_text(file, url)


def url_from_host(host: str, domains: Sequence[str]) -> str | None:
    """The public address behind a request's Host or X-Forwarded-Host; None for a host outside of ``domains``.

    A marketplace that hides its address ends TLS itself, on port 443.
    """
    name = host.strip().lower().partition(":")[0]
    for domain in domains:
        labels = name.removesuffix(domain).split(".")
        if name.endswith(domain) and all(_is_label(label) for label in labels):
            return f"https://{name}"
    return None


def _is_label(label: str) -> bool:
    return label.replace("-", "").isalnum() and label.isascii()
