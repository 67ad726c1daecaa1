"""Asks the hub or an https folder where a file's bytes are. Only the hub gets the token."""

from __future__ import annotations

import email.utils
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import parse_qs, quote, urljoin, urlsplit

from bootstrap.choose.manifest import File, Licence, Source
from bootstrap.errors import KitError
from bootstrap.fetch import errors
from bootstrap.fetch.http.connection import Connection
from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin, target_of

ANSWER_SECONDS = 15.0
MAX_REDIRECTS = 5
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Located:
    """An address to get ranges from, and what the server announced about the content."""

    url: str
    token: str | None  # only where the hub itself sends the bytes
    bytes: int | None
    sha256: str | None
    git_oid: str | None
    good_until: float | None  # monotonic seconds; None: no end is known

    @property
    def origin(self) -> Origin:
        return Origin.of(self.url)


class Mirror(Protocol):
    """One place that has a source's files: the hub itself, a mirror of it, or an https folder."""

    name: str

    def locate(self, file: File) -> Located:
        """Ask for the file's address; KitError when that cannot succeed, TryAgain when it may."""
        ...


class HubMirror:
    """A hub, or a mirror that answers the same requests (which gets no token)."""

    def __init__(self, endpoint: str, source: Source, licence: Licence, token: str | None) -> None:
        self._endpoint = endpoint.rstrip("/")
        self._source = source
        self._licence = licence
        self._token = token
        self._origin = Origin.of(self._endpoint)
        self.name = str(self._origin)

    def locate(self, file: File) -> Located:
        revision = quote(self._source.revision or "main", safe="")
        url = f"{self._endpoint}/{self._source.repo}/resolve/{revision}/{quote(file.path)}"
        head, url, storage = self._follow(file, url)
        bytes_ = head.number("x-linked-size")
        if bytes_ is None and storage is None:
            bytes_ = _length(head)
        sha256, git_oid = _hash_of(head.headers.get("x-linked-etag") or head.headers.get("etag", ""))
        if storage is not None:
            good_until = _good_until(storage, head.headers.get("date"))
            return Located(storage, None, bytes_, sha256, git_oid, good_until)
        return Located(url, self._token, bytes_, sha256, git_oid, None)

    def _follow(self, file: File, url: str) -> tuple[Head, str, str | None]:
        """The hub's answer, the address that gave it, and the storage it points to when there is one."""
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        first: Head | None = None
        for _ in range(MAX_REDIRECTS):
            head = ask("HEAD", url, headers)
            if head.status in REDIRECTS and "location" in head.headers:
                first = first or head
                there = urljoin(url, head.headers["location"])
                if Origin.of(there) != self._origin or "x-linked-size" in head.headers:
                    return head, url, there
                url = there  # a repository that was renamed, or the hub's own cache of small files
                continue
            if head.status not in (200, 206):
                raise errors.of_hub(head, self._origin, self._source, file.path, self._licence, self._token)
            return head, url, None
        raise KitError(f"{self.name} redirects {file.path} in circles", fix="check HF_ENDPOINT")


class UrlMirror:
    """An https folder: redirects are followed, no token is ever sent."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")
        self.name = str(Origin.of(folder))

    def locate(self, file: File) -> Located:
        url = f"{self._folder}/{quote(file.path)}"
        for _ in range(MAX_REDIRECTS):
            head = ask("HEAD", url, {})
            if head.status in REDIRECTS and "location" in head.headers:
                url = urljoin(url, head.headers["location"])
                continue
            if head.status in (403, 405, 501):  # signed for GET alone: the first range will show it
                return Located(url, None, None, None, None, None)
            if head.status not in (200, 206):
                raise errors.of_status(head, Origin.of(url), file.path)
            return Located(url, None, _length(head), None, None, None)
        raise KitError(
            f"{self.name} redirects {file.path} in circles", fix="check the source in the manifest"
        )


def ask(method: str, url: str, headers: dict[str, str]) -> Head:
    """One request; its body is not read. TryAgain or KitError when the network fails."""
    origin = Origin.of(url)
    connection = Connection(origin)
    try:
        return connection.request(method, target_of(url), headers, seconds=ANSWER_SECONDS)
    except OSError as error:
        raise errors.of_network(error, origin) from error
    finally:
        connection.close()


def _length(head: Head) -> int | None:
    """The file's length; a compressed answer's length is another one."""
    if head.headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        return None
    return head.number("content-length")


def _hash_of(etag: str) -> tuple[str | None, str | None]:
    text = etag.strip().removeprefix("W/").strip('"')
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text, None
    return None, text if re.fullmatch(r"[0-9a-f]{40}", text) else None


def _good_until(url: str, date: str | None) -> float | None:
    """When to ask again: at 80 % of a signature's life, counted from now, so that no clock must be right."""
    query = {name.lower(): values[0] for name, values in parse_qs(urlsplit(url).query).items()}
    life: float | None = None
    if query.get("x-amz-expires", "").isdigit():
        life = float(query["x-amz-expires"])
    elif query.get("expires", "").isdigit() and date:
        try:
            life = float(query["expires"]) - email.utils.parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError):
            life = None
    return None if life is None else time.monotonic() + 0.8 * max(life, 0.0)


def mirrors_of(
    source: Source, licence: Licence, token: str | None, endpoint: str, others: tuple[str, ...]
) -> list[Mirror]:
    """All that have the files of this source, the hub first; ``others`` are addresses of its mirrors."""
    if source.url:
        return [UrlMirror(source.url)]
    with_token: list[Mirror] = [HubMirror(endpoint, source, licence, token)]
    return with_token + [HubMirror(mirror, source, licence, None) for mirror in others]


def in_cache(source: Source, file: File) -> Path | None:
    """The file in the box's own hub cache (``HF_HOME``), as huggingface_hub keeps it; not verified."""
    if not source.repo or not source.revision:
        return None
    from huggingface_hub import constants  # its other half takes long to import: only if there is a cache

    if not (Path(constants.HF_HUB_CACHE) / f"models--{source.repo.replace('/', '--')}").is_dir():
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, file.path, revision=source.revision)
    if not isinstance(found, str) or Path(found).stat().st_size != file.bytes:
        return None
    return Path(found).resolve()
