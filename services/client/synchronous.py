"""The client for programs without asyncio. ``AsyncKinokit`` has the same methods."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from services.client import calls, errors, looks, objects
from services.client.attempts import Attempts
from services.client.calls import Call, Image
from services.client.downloads import Download
from services.client.looks import Looks, is_replay
from services.client.objects import Batch, Model, Video

PATIENCE_SECONDS = 60.0  # a service that is started again is back within seconds
TIMEOUT_SECONDS = 60.0


class Kinokit:
    """``url``: the service's address, without /v1. All methods raise ``KinokitError``.

    ``patience_seconds``: for how long a request is repeated while nobody answers, or the answer asks for it.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        waits_for_room: bool = True,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False)
        self._patience_seconds = patience_seconds
        self._waits_for_room = waits_for_room

    def __enter__(self) -> Kinokit:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._http.close()

    def create(
        self,
        prompt: str | None = None,
        *,
        image: Image | None = None,
        idempotency_key: str | None = None,
        **parameters: Any,
    ) -> Video:
        """Ask for a video. It is made once, however often the request has to be repeated on its way."""
        return self._video(calls.create({"prompt": prompt, **parameters}, image, idempotency_key))

    def remix(
        self,
        video_id: str,
        *,
        image: Image | None = None,
        idempotency_key: str | None = None,
        **changes: Any,
    ) -> Video:
        """The same again with what is changed."""
        return self._video(calls.remix(video_id, changes, image, idempotency_key))

    def batch(self, requests: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None) -> Batch:
        """All of them are taken, or none."""
        answer = self._ask(calls.batch(requests, idempotency_key))
        return objects.batch(answer.json(), is_replay=is_replay(answer))

    def retrieve(self, video_id: str) -> Video:
        return self._video(calls.retrieve(video_id))

    def retrieve_batch(self, batch_id: str) -> Batch:
        return objects.batch(self._ask(calls.retrieve_batch(batch_id)).json())

    def list(self, *, order: str = "desc", page_size: int = 50) -> Iterator[Video]:
        """All videos; pages are fetched as they are needed."""
        after: str | None = None
        while True:
            page = self._ask(calls.page(after, page_size, order)).json()
            yield from (objects.video(each) for each in page["data"])
            if not page["has_more"]:
                return
            after = page["last_id"]

    def watch(
        self, video_id: str, *, timeout_seconds: float | None = None, every_seconds: float | None = None
    ) -> Iterator[Video]:
        """The video each time it was looked at, until it has ended; ``TimeoutError`` if that takes longer."""
        times = Looks(video_id, timeout_seconds, every_seconds)
        while True:
            answer = self._ask(calls.retrieve(video_id))
            video = objects.video(answer.json())
            yield video
            if video.has_ended:
                return
            time.sleep(times.wait_seconds(answer))

    def wait(self, video_id: str, *, timeout_seconds: float | None = None) -> Video:
        """The completed video. Raises ``VideoFailed`` when it failed."""
        video = self.retrieve(video_id)
        for video in self.watch(video_id, timeout_seconds=timeout_seconds):  # noqa: B007 - the last one counts
            pass
        return looks.completed(video)

    def download(self, video_id: str, target: Path, *, variant: str = "video") -> Path:
        """Into a file, which is there as a whole or not at all; a download that broke off goes on."""
        download = Download(target, self._ask(calls.content("HEAD", video_id, variant, {})))
        attempts = Attempts(self._patience_seconds)
        while not download.is_whole:
            try:
                self._fetch(calls.content("GET", video_id, variant, download.headers()), download)
            except httpx.TransportError as error:
                wait = attempts.wait_seconds(error)
                if wait is None:
                    raise errors.unreachable(error, str(self._http.base_url)) from error
                time.sleep(wait)
        return download.finish()

    def cancel(self, video_id: str) -> Video:
        return self._video(calls.cancel(video_id))

    def delete(self, video_id: str) -> None:
        self._ask(calls.delete(video_id))

    def status(self) -> Mapping[str, Any]:
        """How the service stands: its boot, its workers, its queue, its plan."""
        found: Mapping[str, Any] = (self._ask(calls.status())).json()
        return found

    def models(self) -> Sequence[Model]:
        return [objects.model(each) for each in self._ask(calls.models()).json()["data"]]

    def _video(self, call: Call) -> Video:
        answer = self._ask(call)
        return objects.video(answer.json(), is_replay=is_replay(answer))

    def _fetch(self, call: Call, download: Download) -> None:
        with self._http.stream(call.method, call.path, **call.given) as answer:
            if not answer.is_success:
                answer.read()
                raise errors.of(answer)
            download.begin(answer)
            for data in answer.iter_bytes(2**20):
                download.add(data)

    def _ask(self, call: Call) -> httpx.Response:
        attempts = Attempts(self._patience_seconds, waits_for_room=self._waits_for_room)
        while True:
            try:
                answer = self._http.request(call.method, call.path, **call.given)
            except httpx.TransportError as error:
                wait = attempts.wait_seconds(error)
                if wait is None:
                    raise errors.unreachable(error, str(self._http.base_url)) from error
            else:
                if answer.is_success:
                    return answer
                if call.method == "HEAD":  # its errors have no body
                    return self._ask(replace(call, method="GET"))
                wait = attempts.wait_seconds(answer)
                if wait is None:
                    raise errors.of(answer)
            time.sleep(wait)
