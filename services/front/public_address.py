"""Where people reach this box, learnt from the first visit: Clore tells it nowhere else.

Only a visitor who has signed in is believed: a Host header is easily made up, and the address is shown with
the token beside it. The agent reads the file and tells the person.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request

from bootstrap import files
from bootstrap.data_directory import PUBLIC_URL
from bootstrap.platforms.clore import here as clore


def learn(request: Request, data_dir: Path) -> None:
    """Keep the address that this request came by, when it is one of Clore's and new."""
    host = request.headers.get("x-forwarded-host") or request.headers.get("host") or ""
    url = clore.url_from_host(host)
    file = data_dir / PUBLIC_URL
    if url and not (file.exists() and file.read_text() == url):
        files.replace_text(file, url)
