"""Hashes from the hub: the real huggingface_hub client asks a small server that answers as the hub does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from bootstrap.choose import locking, reading
from bootstrap.choose.locking import Known
from bootstrap.choose.manifest import Manifest
from bootstrap.errors import KitError

REVISION = "9e43909513c6714f1bc78bcb44d96e733cd242aa"
WEIGHTS_SHA = "9fbc02e90f37d422f5e3a4aeaee95f6629dc8c45ca211b951626e930daf2bddf"
INDEX_OID = "814cc99f8674db1df84d0fff0d4e5535e745d328"
WHAT_THE_HUB_HAS = {
    "model_index.json": {"type": "file", "path": "model_index.json", "size": 496, "oid": INDEX_OID},
    "unet/weights.safetensors": {
        "type": "file",
        "path": "unet/weights.safetensors",
        "size": 3049435836,
        "oid": "1" * 40,
        "lfs": {"oid": WEIGHTS_SHA, "size": 3049435836, "pointerSize": 135},
    },
}
MANIFEST = """\
# My own variant.
name: anime
title: An anime variant
summary: A community fine-tune.
family: svd
inputs: [image]
licence: {id: openrail, url: https://example.org/licence}
source: {repo: somebody/svd-anime, revision: 9e43909513c6714f1bc78bcb44d96e733cd242aa}
files:
  - path: model_index.json
    bytes: 496
  - path: unet/weights.safetensors # the large one
    bytes: 3049435836
    sha256: null
components: {pipeline: "."}
limits: {size_multiple: 64}
profiles:
  - {name: full, title: Everything on the GPU, needs: {vram_gib: 16}}
"""


class Hub(BaseHTTPRequestHandler):
    """``POST /api/models/{repo}/paths-info/{revision}``, with a gated and an unknown repository."""

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        _, _, _, owner, name, _, revision = self.path.split("/")
        if name == "gated" and self.headers["Authorization"] != "Bearer hf_right":
            return self._answer(403, {"error": "gated"}, "GatedRepo")
        if owner == "nobody":
            return self._answer(404, {"error": "not found"}, "RepoNotFound")
        if revision != REVISION:
            return self._answer(404, {"error": "no such revision"}, "RevisionNotFound")
        return self._answer(
            200, [WHAT_THE_HUB_HAS[path] for path in form["paths"] if path in WHAT_THE_HUB_HAS]
        )

    def _answer(self, status: int, body: object, code: str | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if code:
            self.send_header("X-Error-Code", code)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def parse(text: str) -> Manifest:
    return reading.parse(text, "anime.yaml")


def locked(text: str, hub: str) -> str:
    read = parse(text)
    return locking.fill(text, read, locking.ask(read, endpoint=hub, token=None))[0]


def test_hashes_are_filled_in_and_comments_stay(hub: str) -> None:
    filled = locked(MANIFEST, hub)
    assert filled == MANIFEST.replace("bytes: 496\n", f"bytes: 496\n    git_oid: {INDEX_OID}\n").replace(
        "sha256: null", f"sha256: {WEIGHTS_SHA}"
    )
    assert parse(filled).files[1].sha256 == WEIGHTS_SHA


def test_what_is_filled_in_is_not_changed_again(hub: str) -> None:
    once = locked(MANIFEST, hub)
    assert locked(once, hub) == once


def test_a_wrong_size_is_corrected(hub: str) -> None:
    assert parse(locked(MANIFEST.replace("bytes: 496", "bytes: 500"), hub)).files[0].bytes == 496


@pytest.mark.parametrize(
    "entry",
    [
        "  - {path: unet/weights.safetensors, bytes: 3049435836}",
        "  - {path: unet/weights.safetensors, bytes: 3049435836, sha256: null}",
        "  - {path: unet/weights.safetensors, sha256: ~, bytes: 3049435836} # on one line",
        "  - path: unet/weights.safetensors\n    sha256:\n    bytes: 3049435836",
        "  -   bytes: 1\n      path: unet/weights.safetensors",
    ],
)
def test_every_way_to_write_an_entry_is_filled_in(hub: str, entry: str) -> None:
    begin, end = MANIFEST.index("  - path: model_index"), MANIFEST.index("components:")
    filled = parse(locked(f"{MANIFEST[:begin]}{entry}\n{MANIFEST[end:]}", hub)).files
    assert [(file.path, file.bytes, file.sha256) for file in filled] == [
        ("unet/weights.safetensors", 3049435836, WEIGHTS_SHA)
    ]


def test_a_hash_that_contradicts_the_hub_is_an_error_and_never_overwritten(hub: str) -> None:
    with pytest.raises(KitError) as error:
        locked(MANIFEST.replace("sha256: null", f"sha256: {'a' * 64}"), hub)
    assert WEIGHTS_SHA in error.value.problem


def test_a_file_that_the_hub_does_not_have(hub: str) -> None:
    with pytest.raises(KitError, match=r"has no unet/other\.safetensors at"):
        locked(MANIFEST.replace("unet/weights", "unet/other"), hub)


def test_a_gated_repository_names_the_page_to_accept(hub: str) -> None:
    text = MANIFEST.replace("somebody/svd-anime", "somebody/gated").replace(
        "url: https://example.org/licence",
        "url: https://example.org/licence, gated: true, accept_url: https://hub/accept",
    )
    for token, told in ((None, "no HF_TOKEN is set"), ("hf_wrong", "the token is refused")):
        with pytest.raises(KitError, match=told) as error:
            locking.ask(parse(text), endpoint=hub, token=token)
        assert "https://hub/accept" in error.value.fix
        assert "hf_wrong" not in str(error.value)
    assert locking.ask(parse(text), endpoint=hub, token="hf_right")["model_index.json"] == Known(
        496, None, INDEX_OID
    )


def test_an_unknown_repository_and_an_unknown_revision(hub: str) -> None:
    with pytest.raises(KitError, match="is not on"):
        locked(MANIFEST.replace("somebody/", "nobody/"), hub)
    with pytest.raises(KitError, match="has no revision"):
        locked(MANIFEST.replace(REVISION, "a" * 40), hub)


def test_a_hub_that_does_not_answer() -> None:
    with pytest.raises(KitError, match="could not be asked"):
        locked(MANIFEST, "http://127.0.0.1:9")


def test_a_manifest_that_cannot_be_written_stays_whole(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="cannot be written"):
        locking.write(tmp_path / "none" / "anime.yaml", MANIFEST)
