"""Calls of a marketplace's API, with patience for what passes and an error of its own for what does not."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx

from bootstrap import certificates
from bootstrap.errors import KitError

# Clore's API stands behind a proxy that turns unknown clients away.
USER_AGENT = "Mozilla/5.0 (compatible; kinokit)"
TRIES = 5
LONGEST_WAIT_SECONDS = 60.0
READING = ("GET", "DELETE")  # what may be sent twice without renting or paying twice


class MarketError(KitError):
    """The marketplace refused, with its own text. ``status`` is that of HTTP, 0 when there was no answer."""

    FIX = "look at the offer on the marketplace's site; another offer may work"

    def __init__(self, problem: str, status: int = 0, *, fix: str = FIX) -> None:
        super().__init__(problem, fix=fix)
        self.status = status


class Unreachable(MarketError):
    """No answer, a broken one, or a server's error, after all tries: nothing is known of what was asked."""

    FIX = "check your network and the marketplace's status page, and try again"

    def __init__(self, problem: str, status: int = 0, *, fix: str = FIX) -> None:
        super().__init__(problem, status, fix=fix)


class KeyRefused(MarketError):
    """The account's key is wrong, or lacks a right."""

    FIX = "make a key with the right to rent on the marketplace's site, and export it again"

    def __init__(self, problem: str, status: int = 0, *, fix: str = FIX) -> None:
        super().__init__(problem, status, fix=fix)


class Api:
    """One marketplace's API. A key never appears in an error."""

    name: str  # as people write it

    def __init__(
        self, base_url: str, headers: Mapping[str, str], sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.base_url = base_url
        self.headers = {"User-Agent": USER_AGENT, "Accept": "application/json", **headers}
        self.sleep = sleep
        self.timeout_seconds = 60.0

    def call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Mapping[str, str] | None = None,
        repeat: bool | None = None,
    ) -> Any:
        """The answer's JSON; None when it is empty.

        429 is waited out. No answer, 5xx and what is no JSON are tried again where ``repeat`` says that
        asking twice does no harm: not for a create, which may have worked. MarketError and its kinds.
        """
        repeat = method in READING if repeat is None else repeat
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            try:
                return self._content(self._answer(method, path, body, query))
            except Busy as error:
                if last:
                    raise
                self.sleep(error.seconds if error.seconds is not None else 2.0**attempt)
            except Unreachable:
                if last or not repeat:
                    raise
                self.sleep(2.0**attempt)
        raise AssertionError("the loop returns")

    def _answer(self, method: str, path: str, body: Any, query: Mapping[str, str] | None) -> httpx.Response:
        try:
            with httpx.Client(
                base_url=self.base_url,
                headers=self.headers,
                timeout=self.timeout_seconds,
                verify=certificates.context(),
            ) as http:
                answer = http.request(method, path, json=body, params=query)
                if method == "GET" and _stays(answer):
                    # A slash more or less at the end. The key goes to no other host.
                    answer = http.get(answer.headers["Location"])
                return answer
        except ImportError as error:  # httpx knows no SOCKS proxy by itself
            raise MarketError(
                f"{self.name} cannot be asked through a SOCKS proxy",
                fix="name an HTTP proxy in HTTPS_PROXY, or put the marketplace's host into NO_PROXY",
            ) from error
        except httpx.HTTPError as error:
            raise Unreachable(f"{self.name} does not answer: {type(error).__name__}") from error

    def _content(self, answer: httpx.Response) -> Any:
        status, page = answer.status_code, _is_page(answer)
        if status == 429:
            raise Busy(self.name, _seconds(answer.headers.get("Retry-After")))
        if status in (401, 403) and not page:
            raise KeyRefused(f"{self.name} refuses the key ({status})", status)
        if page or status >= 500:
            what = "a page, which is no answer of its API" if page else answer.text[:300]
            raise Unreachable(f"{self.name} answers {status}: {what}", status)
        if status >= 300:
            raise MarketError(f"{self.name} answers {status}: {answer.text[:300]}", status)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise Unreachable(f"{self.name} answers {status} with what is no JSON", status) from error

    def listed(self, found: Any, *keys: str) -> list[Mapping[str, Any]]:
        """The list of objects at ``keys`` of an answer. Unreachable when it is not there."""
        for key in keys:
            found = found.get(key) if isinstance(found, Mapping) else None
        if not isinstance(found, list):
            raise Unreachable(f"{self.name} answers without {'.'.join(keys) or 'a list'}", 200)
        return [each for each in found if isinstance(each, Mapping)]


class Busy(Unreachable):
    """429: too many calls. ``seconds`` is how long the marketplace wants to be left alone."""

    def __init__(self, name: str, seconds: float | None) -> None:
        super().__init__(f"{name} keeps answering that there are too many calls", 429)
        self.seconds = seconds


def _stays(answer: httpx.Response) -> bool:
    """Does it lead to another path of the same host?"""
    there = answer.next_request.url if answer.next_request else answer.url
    here = answer.url
    return answer.has_redirect_location and (there.scheme, there.netloc) == (here.scheme, here.netloc)


def _is_page(answer: httpx.Response) -> bool:
    """A proxy's HTML in the place of the API's answer."""
    return "html" in answer.headers.get("Content-Type", "") or answer.text.lstrip()[:1] == "<"


def _seconds(retry_after: str | None) -> float | None:
    """``Retry-After`` is a number or a date; a clock that goes wrong must not wait for hours."""
    if not retry_after:
        return None
    try:
        seconds = float(retry_after)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(retry_after).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 1.0), LONGEST_WAIT_SECONDS)
