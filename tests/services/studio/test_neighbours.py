"""A rented box shares its address with strangers: their ports get its cookie, and nothing by it.

By http and a name that is not localhost, as on a marketplace: there browsers send no Sec-Fetch-Site.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, expect

from services.front.settings import Settings
from tests.services.front.running import WAN, Front, running
from tests.services.studio import boots
from tests.services.studio.conftest import CHROMIUM, QUIET

pytestmark = pytest.mark.browser

FORM = """<form method="post" action="{target}"><input name="prompt" value="a cat"></form>
<script>document.forms[0].submit();</script>"""


class Neighbour(ThreadingHTTPServer):
    """The tenant of another port: serves a page that posts a form, and keeps what browsers send it."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Visit)
        self.target = ""
        self.headers: list[dict[str, str]] = []


class Visit(BaseHTTPRequestHandler):
    server: Neighbour

    def do_GET(self) -> None:
        self.server.headers.append({name.lower(): value for name, value in self.headers.items()})
        page = b"" if "storage" in self.path else FORM.format(target=self.server.target).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        if "hidden" in self.path:
            self.send_header("Referrer-Policy", "no-referrer")  # its Origin is then "null"
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    with Neighbour() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    with running(Settings(tmp_path)) as found:
        found.plan(WAN)
        found.boot(**boots.fetching(0.2))
        yield found


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    rule = "--host-resolver-rules=MAP box.example 127.0.0.1"
    browser = chromium.browser_type.launch(executable_path=CHROMIUM, args=[*QUIET, rule])
    yield browser.new_context()
    browser.close()


def outside(url: str) -> str:
    return url.replace("127.0.0.1", "box.example")


@pytest.mark.parametrize("path", ["", "hidden"])
def test_a_neighbour_gets_the_cookie_and_nothing_by_it(
    front: Front, neighbour: Neighbour, context: BrowserContext, path: str
) -> None:
    page = context.new_page()
    page.goto(outside(f"{front.url}/?token={front.token}"))
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    assert not page.evaluate("isSecureContext")
    neighbour.target = outside(f"{front.url}/v1/videos")
    theirs = f"http://box.example:{neighbour.server_address[1]}"
    page.goto(f"{theirs}/{path}")
    expect(page.locator("body")).to_contain_text("cross_site")
    page.goto(f"{theirs}/storage")
    assert page.evaluate("localStorage.length") == 0

    sent = neighbour.headers[0]
    assert "kinokit_" in sent["cookie"], "the browser sends it to every port: the threat is real"
    with httpx.Client(base_url=front.url, headers={"Cookie": sent["cookie"]}, timeout=60) as thief:
        assert thief.get("/status").status_code == 401
        assert thief.get("/v1/videos").status_code == 401
        assert thief.post("/v1/videos", data={"prompt": "a cat"}).status_code == 401
        assert thief.post("/sign-out").status_code == 401
        assert front.token not in thief.get("/", headers={"Accept": "text/html"}).text
    assert front.people.get("/v1/videos").json()["data"] == []


def test_the_visitors_own_pages_go_on_after_a_reload_and_in_new_tabs(
    front: Front, context: BrowserContext
) -> None:
    page = context.new_page()
    page.goto(outside(f"{front.url}/?token={front.token}"))
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    assert page.url == outside(f"{front.url}/")
    page.reload()
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    second = context.new_page()
    second.goto(outside(f"{front.url}/v1/videos"))
    expect(second.locator("#answer")).to_contain_text('"object":"list"')


def test_a_visitor_signs_out_and_in_again(front: Front, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(outside(front.url))
    page.get_by_label("Token", exact=True).fill(front.token)
    page.get_by_role("button", name="Sign in").click()
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    cookies = "; ".join(f"{each['name']}={each['value']}" for each in context.cookies())
    key = page.evaluate("Object.values(localStorage)[0]")
    headers = {"Cookie": cookies, "X-Kinokit-Key": key}
    assert front.anybody.get("/status", headers=headers).status_code == 200
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert front.anybody.get("/status", headers=headers).status_code == 401
    assert page.evaluate("localStorage.length") == 0


def test_a_page_that_lost_its_key_asks_to_sign_in_again(front: Front, context: BrowserContext) -> None:
    page = context.new_page()
    page.goto(outside(f"{front.url}/?token={front.token}"))
    expect(page.locator("#headline")).to_have_text("Downloading the model")
    page.evaluate("localStorage.clear()")
    page.goto(outside(front.url))
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def test_there_is_no_sign_out_where_nobody_signs_in(tmp_path: Path, context: BrowserContext) -> None:
    with running(Settings(tmp_path, auth=False)) as front:
        front.boot(**boots.fetching(0.2))
        page = context.new_page()
        page.goto(front.url)
        expect(page.locator("#headline")).to_have_text("Downloading the model")
        expect(page.get_by_role("button", name="Sign out")).to_be_hidden()
