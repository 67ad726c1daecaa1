"""A service that runs: the one of the data directory with its own token, or any by address and token."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from bootstrap import data_directory, settings
from bootstrap.errors import KitError
from bootstrap.launch import location

ANSWER_SECONDS = 30.0


@dataclass(frozen=True)
class Service:
    """Its API. Every answer that is not a success is a ``KitError`` with the service's own words."""

    http: httpx.Client

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        given = {name: value for name, value in query.items() if value is not None}
        return self._asked("GET", path, params=given)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._asked("POST", path, json=body)

    def _asked(self, method: str, path: str, **given: Any) -> dict[str, Any]:
        try:
            answer = self.http.request(method, path, **given)
        except httpx.TransportError as error:
            raise KitError(
                f"{self.http.base_url} does not answer: {error or type(error).__name__}",
                fix="look at `kinokit status`, or correct --url",
            ) from error
        found = _json(answer)
        if answer.is_success:
            return found
        told = found.get("error") or {}
        raise KitError(
            str(told.get("message") or f"the service answered with HTTP {answer.status_code}"),
            fix=str(told.get("fix") or "look at `kinokit logs`"),
        )


@contextmanager
def connect(
    url: str | None, token: str | None, data_dir: Path | None, config: Path | None
) -> Iterator[Service]:
    """``url`` and ``token`` of any service; without an address the one of the data directory.

    Raises:
        KitError: none runs there.
    """
    if url is None:
        url, token = _here(data_dir, config)
    headers = {"Authorization": f"Bearer {token.strip()}"} if token else {}
    with httpx.Client(
        base_url=url, headers=headers, timeout=ANSWER_SECONDS, trust_env=False, follow_redirects=False
    ) as http:
        yield Service(http)


def _here(data_dir: Path | None, config: Path | None) -> tuple[str, str | None]:
    found = settings.load({"data_dir": data_dir}, os.environ, config).settings
    where = location.of_running(found, os.environ).data_dir
    record = data_directory.running(where)
    if record is None or "local_url" not in record:
        raise KitError(
            f"no service runs in {where}", fix="start one with `kinokit up`, or name another with --url"
        )
    token = Path(record["token_file"]).read_text().split()[0] if record.get("auth") else None
    return str(record["local_url"]), token


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
