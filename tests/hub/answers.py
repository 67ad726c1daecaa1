"""What the hub and its storage answer, with the headers of the real ones."""

from __future__ import annotations

import gzip
import json
import re
import time
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub.server import Fault, Hub, Repo, Seen

BLOCK_BYTES = 256 * 1024


@cache
def zipped(data: bytes) -> bytes:
    """Compressed once: a proxy would not let its client wait for it either."""
    return gzip.compress(data, 1)


class Answers(BaseHTTPRequestHandler):
    """What both have in common: counting, throttling, ranges, faults."""

    protocol_version = "HTTP/1.1"
    where = ""
    disable_nagle_algorithm = True

    @property
    def hub(self) -> Hub:
        return self.server.hub  # type: ignore[attr-defined,no-any-return]

    def setup(self) -> None:
        super().setup()
        self.hub.hold(self.connection)

    def finish(self) -> None:
        self.hub.release(self.connection)
        super().finish()

    def log_message(self, *_: Any) -> None:
        """Silent: tests read ``seen``."""

    def do_GET(self) -> None:
        self.begin()

    do_HEAD = do_GET
    do_POST = do_GET

    def date_time_string(self, timestamp: float | None = None) -> str:
        return super().date_time_string(self.hub.now() if timestamp is None else timestamp)

    def begin(self) -> None:
        self.hub.wait_for_link()
        if self.hub.latency_seconds:
            time.sleep(self.hub.latency_seconds)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.record = Seen(self.where, self.command, urlsplit(self.path).path, headers, at=time.monotonic())
        self.hub.seen.append(self.record)
        self.answer()

    def answer(self) -> None:
        raise NotImplementedError

    def reply(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.record.status = status
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def faulty(self, path: str) -> bool:
        """Whether a fault gave the whole answer."""
        self.record.path = path
        if self.hub.pick(("garbage",), self.where, path):
            self.wfile.write(b"\x16\x03\x01 what is this\r\n\r\n")
            self.close_connection = True
            return True
        fault = self.hub.pick(("status",), self.where, path)
        if fault:
            self.reply(fault.status, dict(fault.headers), b"no")
        return fault is not None

    def send_file(self, repo: Repo, path: str, headers: dict[str, str]) -> None:
        change = self.hub.pick(("change",), self.where, path)
        if change:
            repo.files[path] = change.data
        data = repo.files[path]
        if self.hub.pick(("gzip",), self.where, path):
            body = zipped(data)
            self.send_body(200, {**headers, "Content-Encoding": "gzip"}, body, path, len(body))
            return
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if not asked or self.hub.pick(("ignore_range",), self.where, path):
            self.send_body(200, headers, data, path, len(data))
            return
        start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2] or 0))
        end = min(int(asked[2]) if asked[1] and asked[2] else len(data) - 1, len(data) - 1)
        if start >= len(data):
            self.reply(416, {"Content-Range": f"bytes */{len(data)}"})
            return
        shift = 1 if self.hub.pick(("wrong_range",), self.where, path) else 0
        named = f"bytes {start + shift}-{end + shift}/{len(data)}"
        self.send_body(206, {**headers, "Content-Range": named}, data, path, end + 1 - start, start)

    def send_body(
        self, status: int, headers: dict[str, str], data: bytes, path: str, count: int, start: int = 0
    ) -> None:
        self.record.status = status
        wrong = self.hub.pick(("wrong_length",), self.where, path) if self.command == "GET" else None
        self.send_response(status)
        said = {
            "Content-Length": str(count + (wrong.at if wrong else 0)),
            "Accept-Ranges": "bytes",
            **headers,
        }
        for name, value in said.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.stream(memoryview(data)[start : start + count], path, start)
        if wrong:
            self.close_connection = True

    def stream(self, body: memoryview, path: str, start: int) -> None:
        cut = self.hub.pick(("cut",), self.where, path)
        stall = self.hub.pick(("stall",), self.where, path)
        slow = self.hub.pick(("slow",), self.where, path)
        rate = slow.rate if slow else self.hub.bytes_per_second
        slowest = min(each for each in (rate, self.hub.link_bytes_per_second, 1e12) if each)
        block = max(1, min(BLOCK_BYTES, int(slowest / 50)))
        began = time.monotonic()
        for offset in range(0, len(body), block):
            piece = bytes(body[offset : offset + block])
            if cut and offset + len(piece) > cut.at:
                self.write(piece[: max(0, cut.at - offset)])
                self.close_connection = True
                return
            if stall and offset + len(piece) > stall.at:
                self.write(piece[: max(0, stall.at - offset)])
                self.hub.stopping.wait(120)
                self.close_connection = True
                return
            self.write(self.flipped(piece, path, start + offset))
            if rate:
                ahead = (offset + len(piece)) / rate - (time.monotonic() - began)
                if ahead > 0 and self.hub.stopping.wait(ahead):
                    return

    def write(self, piece: bytes) -> None:
        self.hub.take_link(len(piece))
        self.wfile.write(piece)
        self.record.sent += len(piece)

    def flipped(self, piece: bytes, path: str, offset: int) -> bytes:
        for fault in self.hub.faults:
            if (
                fault.kind == "flip"
                and offset <= fault.at < offset + len(piece)
                and path.endswith(fault.path)
            ):
                if self._used_up(fault):
                    continue
                changed = bytearray(piece)
                changed[fault.at - offset] ^= 0x01
                return bytes(changed)
        return piece

    def _used_up(self, fault: Fault) -> bool:
        with self.hub.lock:
            fault.happened += 1
            return fault.times is not None and fault.happened > fault.times


class HubAnswers(Answers):
    """The hub: resolve with redirects, metadata, gates."""

    where = "hub"

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            self.api(path.removeprefix("/api/models/"))
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(match[1], match[2], match[3])
        else:
            self.reply(404, {})

    def api(self, path: str) -> None:
        match = re.fullmatch(r"([^/]+/[^/]+)(?:/(revision|tree|paths-info)/([^/]+))?(?:/.*)?", path)
        repo = self.hub.repos.get(match[1]) if match else None
        if match is None or repo is None or (repo.private and self.token() not in self.hub.tokens):
            self.refuse(401 if self.token() is None else 404, "RepoNotFound", "Repository not found")
            return
        if match[3] not in (None, "main", repo.revision):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
            return
        files = sorted(repo.files)
        if match[2] in ("tree", "paths-info"):
            self.json([self.tree_entry(repo, file) for file in files])
            return
        siblings = [{"rfilename": file} for file in files]
        gated = "auto" if repo.gated else False
        about = {"id": repo.name, "modelId": repo.name, "sha": repo.revision, "private": repo.private}
        self.json({**about, "gated": gated, "siblings": siblings, "tags": [], "downloads": 0})

    def tree_entry(self, repo: Repo, path: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"type": "file", "path": path, "size": len(repo.files[path])}
        entry["oid"] = repo.git_oid(path)
        if repo.is_lfs(path):
            entry["lfs"] = {"oid": repo.sha256(path), "size": len(repo.files[path]), "pointerSize": 135}
        return entry

    def resolve(self, name: str, revision: str, path: str) -> None:
        if self.faulty(path):
            return
        repo, token = self.hub.repos.get(name), self.token()
        if repo is None or (repo.private and token not in self.hub.tokens):
            self.refuse(401 if token is None else 404, "RepoNotFound", "Repository not found")
        elif token is not None and token not in self.hub.tokens:
            self.refuse(401, "", "Invalid credentials in Authorization header")
        elif repo.gated and token is None:
            self.refuse(
                401, "GatedRepo", f"Access to model {name} is restricted. You must have access to it."
            )
        elif repo.gated and token not in self.hub.members:
            self.refuse(403, "GatedRepo", f"Access to model {name} is restricted, you are not in the list.")
        elif revision not in ("main", repo.revision):
            self.refuse(404, "RevisionNotFound", "Invalid rev id")
        elif path not in repo.files:
            self.refuse(404, "EntryNotFound", "Entry not found")
        else:
            self.found(repo, path)

    def found(self, repo: Repo, path: str) -> None:
        headers = {"X-Repo-Commit": repo.revision}
        if not repo.is_lfs(path):
            self.send_file(repo, path, {**headers, "ETag": f'"{repo.git_oid(path)}"'})
            return
        size = str(len(repo.files[path]))
        linked = {"X-Linked-Size": size, "X-Linked-Etag": f'"{repo.sha256(path)}"', "Accept-Ranges": "bytes"}
        if repo.xet:
            route = f"{self.hub.endpoint}/api/models/{repo.name}/xet-read-token/{repo.revision}"
            linked |= {"X-Xet-Hash": repo.sha256(path), "X-Xet-Refresh-Route": route}
            linked["Link"] = f'<{route}>; rel="xet-auth"'
        where = self.hub.sign(repo, path)
        self.reply(302, {**headers, **linked, "Location": where}, b"Found. Redirecting")

    def refuse(self, status: int, code: str, message: str) -> None:
        self.reply(status, {"X-Error-Code": code, "X-Error-Message": message}, message.encode())

    def json(self, document: Any) -> None:
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(document).encode())

    def token(self) -> str | None:
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None


class StorageAnswers(Answers):
    """The storage: signed addresses, no tokens, no names. Also a plain https folder, below /plain."""

    where = "storage"

    def answer(self) -> None:
        parts = urlsplit(self.path)
        match = re.fullmatch(r"/(blobs|plain)/([^/]+/[^/]+)/(.+)", unquote(parts.path))
        repo = self.hub.repos.get(match[2]) if match else None
        if match is None or repo is None or match[3] not in repo.files:
            self.reply(404, {})
            return
        if self.faulty(match[3]):
            return
        signature = parse_qs(parts.query).get("X-Amz-Signature", [""])[0]
        if match[1] == "blobs" and not self.hub.is_signed(signature):
            self.reply(403, {"Content-Type": "application/xml"}, b"<Error><Code>AccessDenied</Code></Error>")
            return
        etag = {"ETag": f'"{repo.sha256(match[3])[:32]}"'} if repo.etags else {}
        self.send_file(repo, match[3], etag)
