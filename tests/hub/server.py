"""The hub and its storage: state, faults, and the two HTTP servers."""

from __future__ import annotations

import hashlib
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

HUB_HOST = "127.0.0.1"
STORAGE_HOST = "127.0.0.2"
LFS_SUFFIXES = (".safetensors", ".bin", ".gguf", ".pth", ".mp4")

Kind = Literal[
    "flip",  # one byte at ``at`` is wrong, in every answer that holds it
    "cut",  # the connection closes after ``at`` bytes of the answer
    "stall",  # nothing more comes after ``at`` bytes, and the connection stays open
    "slow",  # ``rate`` bytes a second, on the first ``times`` answers
    "status",  # this status, with ``headers``
    "ignore_range",  # 200 and the whole file
    "wrong_length",  # Content-Length says ``at`` bytes more than come
    "gzip",  # 200, compressed, though nobody asked for it
    "wrong_range",  # Content-Range speaks of other bytes
    "change",  # from now on the file has other content, ``data``
    "garbage",  # not HTTP at all
]


@dataclass
class Fault:
    """Something that goes wrong ``times`` times (``None``: always) for files whose path ends in ``path``."""

    kind: Kind
    path: str = ""
    where: Literal["hub", "storage", "both"] = "storage"
    at: int = 0
    times: int | None = 1
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    rate: float = 100.0
    data: bytes = b""
    happened: int = 0


@dataclass(frozen=True)
class Repo:
    """One repository at one revision."""

    name: str
    revision: str
    files: dict[str, bytes]
    gated: bool = False
    private: bool = False
    etags: bool = True
    xet: bool = False  # kept in the hub's chunk store: said in headers, served by a bridge as plain files too

    def sha256(self, path: str) -> str:
        return hashlib.sha256(self.files[path]).hexdigest()

    def git_oid(self, path: str) -> str:
        data = self.files[path]
        return hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()

    def is_lfs(self, path: str) -> bool:
        return path.endswith(LFS_SUFFIXES)


@dataclass
class Seen:
    """One request, as the server saw it."""

    host: str  # "hub" or "storage"
    method: str
    path: str  # the file's path, or the request's
    headers: dict[str, str]
    status: int = 0
    sent: int = 0  # bytes of the body
    at: float = 0.0  # monotonic


class Hub:
    """State shared by the two servers; ``endpoint`` is what HF_ENDPOINT would say."""

    def __init__(self, *, tls: tuple[Path, Path] | None = None) -> None:
        self.repos: dict[str, Repo] = {}
        self.tokens: set[str] = set()  # accepted tokens
        self.members: set[str] = set()  # tokens whose account has accepted the gated licences
        self.seen: list[Seen] = []
        self.faults: list[Fault] = []
        self.bytes_per_second: float | None = None  # of each connection
        self.link_bytes_per_second: float | None = None  # of all connections together
        self._link_free_at = 0.0
        self.latency_seconds = 0.0
        self.link_is_up = threading.Event()  # cleared, nothing passes, and nobody is told
        self.link_is_up.set()
        self.clock_ahead_seconds = 0.0  # of the clocks of those who fetch
        self.signs_until = False  # with the moment of the end, as CloudFront does, not with the life
        self.signature_seconds = 3600
        self.signatures: dict[str, float] = {}  # valid until, monotonic
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.storage_address: str | None = None  # given out in place of the storage's own
        self._tls = tls
        self._servers: list[ThreadingHTTPServer] = []
        self._sockets: set[socket.socket] = set()
        self._held = [_held(host) for host in (HUB_HOST, STORAGE_HOST)]
        self._ports = [each.getsockname()[1] for each in self._held]

    # ---- what tests ask of it ----

    def add(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        revision: str | None = None,
        gated: bool = False,
        private: bool = False,
    ) -> Repo:
        """Publish a repository; a revision is made from the content when none is given."""
        if revision is None:
            content = b"".join(
                path.encode() + hashlib.sha1(data).digest() for path, data in sorted(files.items())
            )
            revision = hashlib.sha1(name.encode() + content).hexdigest()
        repo = Repo(name, revision, dict(files), gated=gated, private=private)
        self.repos[name] = repo
        return repo

    def allow(self, token: str, *, member: bool = True) -> None:
        """Accept a token; ``member``: its account has accepted the licences of gated repositories."""
        self.tokens.add(token)
        if member:
            self.members.add(token)

    def fault(self, kind: Kind, path: str = "", **details: Any) -> Fault:
        """Let something go wrong from now on."""
        fault = Fault(kind, path, **details)
        self.faults.append(fault)
        return fault

    def bytes_sent(self, path: str = "") -> int:
        """How many bytes of the bodies of this file were sent so far."""
        return sum(seen.sent for seen in list(self.seen) if seen.method == "GET" and seen.path.endswith(path))

    def take_link(self, count: int) -> None:
        """Wait for the turn of so many bytes on the link."""
        self.wait_for_link()
        if not self.link_bytes_per_second:
            return
        with self.lock:
            free_at = max(self._link_free_at, time.monotonic()) + count / self.link_bytes_per_second
            self._link_free_at = free_at
        self.stopping.wait(max(0.0, free_at - time.monotonic()))

    def wait_for_link(self) -> None:
        while not self.link_is_up.wait(0.1) and not self.stopping.is_set():
            """As long as nothing passes."""

    def expire_signatures(self) -> None:
        """Every signed address given out so far is refused from now on."""
        with self.lock:
            self.signatures.clear()

    @property
    def endpoint(self) -> str:
        return f"{self._scheme}://{HUB_HOST}:{self._ports[0]}"

    @property
    def storage(self) -> str:
        return f"{self._scheme}://{STORAGE_HOST}:{self._ports[1]}"

    @property
    def _scheme(self) -> str:
        return "https" if self._tls else "http"

    # ---- its life ----

    def start(self) -> None:
        """Serve; after ``stop`` on the same ports again."""
        from tests.hub.answers import HubAnswers, StorageAnswers

        self.stopping.clear()
        places = ((HUB_HOST, self._ports[0], HubAnswers), (STORAGE_HOST, self._ports[1], StorageAnswers))
        for host, port, answers in places:
            server = _Server((host, port), answers)
            server.hub = self
            if self._tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                context.load_cert_chain(*self._tls)
                server.socket = context.wrap_socket(
                    server.socket, server_side=True, do_handshake_on_connect=False
                )
            self._servers.append(server)
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        """For good: its ports are anybody's."""
        self.stop()
        for each in self._held:
            each.close()

    def stop(self) -> None:
        """Close the doors and every open connection, as a crash would."""
        self.stopping.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._servers.clear()
        for each in list(self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._sockets.clear()

    def hold(self, connection: socket.socket) -> None:
        self._sockets.add(connection)

    def release(self, connection: socket.socket) -> None:
        self._sockets.discard(connection)

    # ---- what the answers ask of it ----

    def pick(self, kinds: tuple[Kind, ...], where: str, path: str) -> Fault | None:
        """The first fault that applies now; it is used up by one."""
        with self.lock:
            for fault in self.faults:
                if fault.kind not in kinds or fault.where not in (where, "both"):
                    continue
                if not path.endswith(fault.path) or (
                    fault.times is not None and fault.happened >= fault.times
                ):
                    continue
                fault.happened += 1
                return fault
        return None

    def sign(self, repo: Repo, path: str) -> str:
        """A signed storage address, as the hub redirects to."""
        signature = secrets.token_hex(16)
        with self.lock:
            self.signatures[signature] = time.monotonic() + self.signature_seconds
        life = f"X-Amz-Expires={self.signature_seconds}"
        if self.signs_until:
            life = f"Expires={int(self.now() + self.signature_seconds)}"
        where = self.storage_address or self.storage
        return f"{where}/blobs/{repo.name}/{path}?{life}&X-Amz-Signature={signature}"

    def now(self) -> float:
        """By the hub's own clock."""
        return time.time() + self.clock_ahead_seconds

    def is_signed(self, signature: str) -> bool:
        with self.lock:
            return self.signatures.get(signature, 0.0) > time.monotonic()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    hub: Hub

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is no news here."""


def _held(host: str) -> socket.socket:
    """A port that nobody else gets while the hub is stopped; who listens shares it with this."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((host, 0))
    return held


@contextmanager
def serve(*, tls: tuple[Path, Path] | None = None) -> Iterator[Hub]:
    """A hub that runs until the block ends; ``tls`` is a certificate and its key."""
    hub = Hub(tls=tls)
    hub.start()
    try:
        yield hub
    finally:
        hub.close()


def certificate(folder: Path, *more: str) -> tuple[Path, Path]:
    """A self-signed certificate for both hosts and for ``more`` names, and its key."""
    made, key = folder / "hub.pem", folder / "hub.key"
    names = f"subjectAltName=IP:{HUB_HOST},IP:{STORAGE_HOST},DNS:localhost"
    names += "".join(f",DNS:{name}" for name in more)
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hub"]
    subprocess.run(
        [*command, "-addext", names, "-keyout", key, "-out", made], check=True, capture_output=True
    )
    return made, key
