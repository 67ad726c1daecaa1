"""An https folder as a place that has files."""

from __future__ import annotations

from urllib.parse import quote

from bootstrap.choose.manifest import File
from bootstrap.fetch import asking, errors
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.located import Located, good_until


class HttpsFolder:
    """Redirects are followed, no token is ever sent."""

    def __init__(self, folder: str) -> None:
        self._folder = folder.rstrip("/")
        self.name = str(Origin.of(folder))

    def locate(self, file: File) -> Located:
        url = f"{self._folder}/{quote(file.path)}"
        hosts = []
        for _ in range(asking.MAX_REDIRECTS + 1):
            origin = Origin.of(url)
            hosts.append(str(origin))
            head = asking.ask("HEAD", url, {})
            there = asking.pointed_to(head, url)
            if there is not None:
                url = there
                continue
            if head.status not in (200, 206, *asking.NO_HEAD):
                raise errors.of_status(head, origin, file.path)
            known = asking.length(head) if head.status in (200, 206) else None
            return Located(url, None, known, None, None, good_until(url, head.headers.get("date")))
        raise errors.circles(hosts, file.path, fix="check the source in the manifest")
