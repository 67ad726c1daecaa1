"""An https folder as a place that has files."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from bootstrap import web_address
from bootstrap.choose.manifest import File
from bootstrap.fetch import asking, errors
from bootstrap.fetch.http.origin import Origin
from bootstrap.fetch.located import Located, good_until, may_follow


class HttpsFolder:
    """Redirects are followed; what shows a user goes to the folder's own host alone."""

    takes_key = True

    def __init__(self, folder: str, tokens: Mapping[str, str]) -> None:
        """``tokens`` are those of hosts; each goes to its own alone."""
        self._folder = folder.rstrip("/")
        self._tokens = tokens
        self.name = str(Origin.of(folder))

    def locate(self, file: File) -> Located:
        url, login = web_address.without_login(file.address or f"{self._folder}/{quote(file.path)}")
        owner, hosts = Origin.of(url), []
        token = owner.token_in(self._tokens)
        login = f"Bearer {token}" if token else login
        for _ in range(asking.MAX_REDIRECTS + 1):
            origin = Origin.of(url)
            hosts.append(str(origin))
            is_first = len(hosts) == 1
            authorization = login if is_first or may_follow(owner, url) else None
            head = asking.ask("HEAD", url, {"Authorization": authorization} if authorization else {})
            there = asking.pointed_to(head, url)
            if there is not None:
                url = there
                continue
            if head.status not in (200, 206, *asking.NO_HEAD):
                raise errors.of_status(head, origin, file.path, takes_key=is_first)
            known = asking.length(head) if head.status in (200, 206) else None
            until = None if is_first else good_until(url, head.headers.get("date"))
            return Located(url, authorization, known, None, None, until, was_moved=not is_first)
        raise errors.circles(hosts, file.path, fix="check the source in the manifest")
