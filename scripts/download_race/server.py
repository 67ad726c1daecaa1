"""The servers of the comparison: nginx for the bytes, and as much of the hub as the clients ask for."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

from .case import MIB, REPO, REVISION, Case

PER_CONNECTION = 40 * MIB
STORAGE_PORT, HUB_PORT = 8081, 8082
# Debian's libnginx-mod-http-lua
LUA = [Path("/usr/lib/nginx/modules") / name for name in ("ndk_http_module.so", "ngx_http_lua_module.so")]


def can_be_late() -> bool:
    return all(path.exists() for path in LUA)


@contextmanager
def nginx(folder: Path, files: Path, case: Case) -> Iterator[None]:
    """The storage: nginx with sendfile, each connection at 40 MiB/s where the link is capped.

    Latency is waited before each answer: what a way there and back costs a request, not what it costs TCP.
    """
    limit = f"limit_rate {PER_CONNECTION};" if case.gbit else ""
    late = f"access_by_lua 'ngx.sleep({case.latency_ms / 1000})';" if case.latency_ms else ""
    modules = "".join(f"load_module {path};\n" for path in LUA) if late else ""
    tls = f"ssl_certificate {folder}/c.pem; ssl_certificate_key {folder}/c.key;" if case.tls else ""
    config = folder / "nginx.conf"
    config.write_text(
        f"{modules}user root; worker_processes 2; daemon off;\n"
        f"pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
        "events { worker_connections 1024; }\n"
        f"http {{ access_log off; sendfile on; keepalive_requests 100000; client_body_temp_path {folder};\n"
        f"server {{ listen 127.0.0.1:{STORAGE_PORT} {'ssl' if case.tls else ''}; {tls}\n"
        f"root {files}; {limit} {late} }} }}\n"
    )
    server = subprocess.Popen(["nginx", "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        yield
    finally:
        server.terminate()
        server.wait()


class Hub(BaseHTTPRequestHandler):
    """As much of the model hub as the clients need; all bytes come from nginx."""

    protocol_version = "HTTP/1.1"
    about: ClassVar[dict[str, dict[str, Any]]] = {}
    storage = ""
    latency_ms = 0

    def do_GET(self) -> None:
        time.sleep(self.latency_ms / 1000)
        path = self.path.split("?")[0]
        name = path.rsplit("/", 1)[-1]
        if "/resolve/" in path and name in self.about:
            size, digest = str(self.about[name]["bytes"]), f'"{self.about[name]["sha256"]}"'
            self._reply(
                302,
                {
                    "Location": f"{self.storage}/{name}",
                    "X-Linked-Size": size,
                    "X-Linked-Etag": digest,
                    "ETag": digest,
                },
            )
        elif "/tree/" in path:
            self._reply(200, {}, [self._entry(file) for file in self.about])
        else:
            siblings = [{"rfilename": file} for file in self.about]
            self._reply(
                200, {}, {"id": REPO, "sha": REVISION, "siblings": siblings, "private": False, "tags": []}
            )

    do_HEAD = do_GET
    do_POST = do_GET

    def _entry(self, file: str) -> dict[str, Any]:
        size, digest = self.about[file]["bytes"], self.about[file]["sha256"]
        lfs = {"oid": digest, "size": size, "pointerSize": 130}
        return {"type": "file", "path": file, "size": size, "oid": "0" * 40, "lfs": lfs}

    def _reply(self, status: int, headers: dict[str, str], body: Any = None) -> None:
        data = b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"X-Repo-Commit": REVISION, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        """Silent."""
