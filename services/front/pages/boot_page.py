"""The boot page, which shows the start, and the page that asks for the token.

Each is one self-contained document: no other request, nothing from another host.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from urllib.parse import quote

PAGES = Path(__file__).parent
# Marketplaces' proxies replace 5xx pages with their own, so the page is a 200 with a header of its own.
HEADERS = {"X-Kinokit-Boot": "1", "Cache-Control": "no-store"}


@cache
def page() -> str:
    """The boot page, for ``GET /`` until the service is ready; it follows ``/status`` by itself."""
    styles = ("tokens.css", "page.css", "boot.css", "waterfall.css", "presence.css", "door.css")
    scripts = ("words.js", "presence.js", "boot.js", "waterfall.js")
    script = '"use strict";\n' + door() + "".join(map(read, scripts))
    return _fill("boot.html", style="".join(map(read, styles)), script=script)


def sign_in_page(wrong: str = "") -> str:
    """A form that posts ``token`` to ``sign-in``. ``wrong`` is why the last try failed."""
    return _fill("sign-in.html", style=read("tokens.css") + read("page.css"), wrong=html.escape(wrong))


def viewer_page(path: str) -> str:
    """Shows what the API answers at ``path`` to a visitor who typed its address."""
    style = read("tokens.css") + read("page.css")
    shown = re.sub(r"[^A-Za-z0-9_./-]", "", path)  # it stands in a script
    return _fill("viewer.html", style=style, script=read("door.js"), path=shown)


def door() -> str:
    """The script that each page begins with: it adds the page's half of the session to its requests."""
    return f"const DOOR_ROOT = null;\n{read('door.js')}"


@cache
def icon() -> str:
    """The mark of the kit as a data address, for ``<link rel="icon">``."""
    return "data:image/svg+xml," + quote(drawing())


def drawing() -> str:
    """The mark of the kit as an SVG file of its own."""
    return read("mark.svg").replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" color="#0f8a77" ')


def _fill(name: str, **parts: str) -> str:
    text = read(name)
    for key, value in {"mark": read("mark.svg").strip(), "icon": icon(), **parts}.items():
        text = text.replace(f"@{key}@", value)
    return text


@cache
def read(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")
