"""Somebody with a browser: a cookie, and the key that the page keeps."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from tests.services.front.running import Front

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@dataclass
class Visitor:
    cookie: str
    page_key: str
    url: str

    def ask(self, method: str, path: str, *, key: bool = True, **given: object) -> httpx.Response:
        """``key`` False: what a neighbour's server can send, who was sent the cookie."""
        headers = {"Cookie": self.cookie} | ({"X-Kinokit-Key": self.page_key} if key else {})
        headers |= given.pop("headers", {})  # type: ignore[call-overload]
        return httpx.request(method, self.url + path, headers=headers, timeout=60, **given)  # type: ignore[arg-type]


def sign_in(front: Front, token: str, **headers: str) -> Visitor:
    answer = httpx.post(
        f"{front.url}/sign-in", data={"token": token}, headers={**BROWSER, **headers}, timeout=60
    )
    assert answer.status_code == 303, answer.text[:500]
    cookie = answer.headers["set-cookie"].partition(";")[0]
    return Visitor(cookie, answer.headers["location"].partition("#kinokit=")[2], front.url)
