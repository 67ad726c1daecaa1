"""The head of an HTTP/1.1 answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class Broken(ConnectionError):
    """The server ended the answer early, or it is not HTTP."""


@dataclass(frozen=True)
class Head:
    """Status and headers of an answer; header names are lower case."""

    status: int
    headers: Mapping[str, str]

    def number(self, name: str) -> int | None:
        text = self.headers.get(name, "").strip()
        return int(text) if text.isascii() and text.isdigit() else None


def parse(head: bytes) -> Head:
    """Status line and headers, without the empty line that ends them. Raises Broken."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise Broken("the answer is not HTTP/1.1")
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Head(int(words[1]), headers)
