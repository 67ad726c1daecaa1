"""Asks the hub or an https folder where a file's bytes are. Only the hub gets the token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from bootstrap import web_address
from bootstrap.choose.manifest import File, Licence, Source
from bootstrap.errors import KitError
from bootstrap.fetch import asking, errors
from bootstrap.fetch.http.head import Head
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.https_folder import HttpsFolder
from bootstrap.fetch.located import Located, Mirror, good_until

ASKS = (401, 403, 429)  # who are you


class HubMirror:
    """A hub, or a mirror that answers the same requests; each has a token of its own, or none."""

    takes_key = False  # it has the hub's token, and errors of its own

    def __init__(
        self, endpoint: str, source: Source, licence: Licence, token: str | None, *, is_mirror: bool = False
    ) -> None:
        self._is_mirror = is_mirror
        self._endpoint, login = web_address.without_login(endpoint.rstrip("/"))
        self._source = source
        self._licence = licence
        self._token = token
        # A token is a person's name: where the licence asks for none, it is shown only when the hub asks.
        self._shows_token = licence.gated
        self._login = login
        self._origin = Origin.of(self._endpoint)
        self.name = str(self._origin)

    def locate(self, file: File) -> Located:
        revision = quote(self._source.revision or "main", safe="")
        url = f"{self._endpoint}/{self._source.repo}/resolve/{revision}/{quote(file.path)}"
        hosts = []
        for _ in range(asking.MAX_REDIRECTS + 1):
            origin = Origin.of(url)
            hosts.append(str(origin))
            head = asking.ask("HEAD", url, self._headers(origin))
            if head.status in ASKS and self._may_show(origin):
                self._shows_token = True
                head = asking.ask("HEAD", url, self._headers(origin))
            there = asking.pointed_to(head, url)
            if there is not None and "x-linked-size" not in head.headers:
                url = there  # a repository that was renamed, another hub, or the hub's cache of small files
                continue
            return self._located(file, head, url, there)
        raise errors.circles(hosts, file.path, fix="check HF_ENDPOINT")

    def _located(self, file: File, head: Head, url: str, storage: str | None) -> Located:
        """From the last answer: the hub's own file, its storage, or storage that does not know HEAD."""
        origin, date = Origin.of(url), head.headers.get("date")
        if storage is not None:
            return Located(storage, None, *_announced(head), good_until(storage, date))
        is_own = origin.may_have_token_of(self._origin)
        is_hub = is_own or any(name in head.headers for name in ("x-repo-commit", "x-error-code"))
        if head.status not in (200, 206):
            if is_hub or head.status not in asking.NO_HEAD:
                raise self._refusal(head, origin, file, is_own=is_own)
            return Located(url, None, None, None, None, good_until(url, date))
        known = _announced(head) if is_hub else (asking.length(head), None, None)
        authorization = self._headers(origin).get("Authorization") if is_own else None
        return Located(url, authorization, *known, None if is_own else good_until(url, date))

    def _headers(self, origin: Origin) -> dict[str, str]:
        if not origin.may_have_token_of(self._origin):
            return {}
        value = f"Bearer {self._token}" if self._token and self._shows_token else self._login
        return {"Authorization": value} if value else {}

    def _may_show(self, origin: Origin) -> bool:
        return bool(self._token) and not self._shows_token and origin.may_have_token_of(self._origin)

    def _refusal(self, head: Head, origin: Origin, file: File, *, is_own: bool) -> Exception:
        if not is_own and self._token and head.status in (401, 403):
            return KitError(
                f"{self.name} redirects to {origin}, which asks for a token (status {head.status});"
                f" the token goes to {self.name} alone",
                fix=f"if {origin} is the hub that you mean, set HF_ENDPOINT to {origin.address}",
            )
        refusal = errors.of_hub(head, origin, self._source, file.path, self._licence, self._token)
        if self._is_mirror and isinstance(refusal, KitError):
            return errors.MirrorError(f"{refusal.problem}, says the mirror", fix=refusal.fix)
        return refusal


def _announced(head: Head) -> tuple[int | None, str | None, str | None]:
    """Bytes, SHA-256 and git id of the content, as a hub's headers have them."""
    linked = head.number("x-linked-size")
    is_whole = head.status in (200, 206)
    bytes_ = asking.length(head) if linked is None and is_whole else linked
    return bytes_, *_hash_of(head.headers.get("x-linked-etag") or head.headers.get("etag", ""))


def _hash_of(etag: str) -> tuple[str | None, str | None]:
    text = etag.strip().removeprefix("W/").strip('"')
    if re.fullmatch(r"[0-9a-f]{64}", text):
        return text, None
    return None, text if re.fullmatch(r"[0-9a-f]{40}", text) else None


def mirrors_of(
    source: Source,
    licence: Licence,
    token: str | None,
    endpoint: str,
    others: tuple[str, ...],
    host_tokens: Mapping[str, str],
) -> list[Mirror]:
    """All that have the files of this source, the hub first; ``others`` are addresses of its mirrors."""
    if source.url:
        return [HttpsFolder(source.url, host_tokens)]
    own = token or Origin.of(endpoint).token_in(host_tokens)
    mirrors: list[Mirror] = [HubMirror(endpoint, source, licence, own)]
    for address in others:
        of_mirror = Origin.of(address).token_in(host_tokens)
        mirrors.append(HubMirror(address, source, licence, of_mirror, is_mirror=True))
    return mirrors


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
