"""Another downloader as a process of its own, so that one that hangs can be ended.

It knows neither digests nor resuming: what it downloads is verified as everything else is, and a download
that stands still is begun again. ``python -m bootstrap.fetch.external_process`` is that process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootstrap import certificates
from bootstrap.choose.manifest import Source
from bootstrap.errors import KitError
from bootstrap.fetch.located import Located
from bootstrap.fetch.transfers.transfer import FileTransfer

ATTEMPTS = 3
CONNECTIONS = 16
CHUNK_BYTES = 16 * 1024**2


def download(
    name: str,
    transfer: FileTransfer,
    located: Located,
    source: Source,
    *,
    endpoint: str,
    token: str | None,
    stalled_seconds: float,
    advanced: Callable[[int], None],
) -> None:
    """Let another downloader make ``transfer.part``; KitError when it fails or stands still three times."""
    order = {
        "downloader": name,
        "url": located.url,
        "authorization": located.authorization,
        "token": token,
        "part": str(transfer.part),
        "repo": source.repo,
        "revision": source.revision,
        "path": transfer.file.path,
        "endpoint": endpoint,
    }
    transfer.part.parent.mkdir(parents=True, exist_ok=True)
    reason = ""
    for _ in range(ATTEMPTS):
        reason = _attempt(order, transfer, stalled_seconds, advanced)
        if not reason:
            return
    raise KitError(
        f"{name} failed {ATTEMPTS} times at {transfer.file.path}: {reason}",
        fix="use the kit's own downloader: leave --downloader out",
    )


def _attempt(
    order: dict[str, Any], transfer: FileTransfer, stalled_seconds: float, advanced: Callable[[int], None]
) -> str:
    """Why it failed; empty when the file is whole."""
    _discard(transfer)
    child = subprocess.Popen(
        [sys.executable, "-m", "bootstrap.fetch.external_process"],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **certificates.for_other_programs(os.environ)},  # proxies are read as here
    )
    assert child.stdin is not None and child.stderr is not None
    child.stdin.write(json.dumps(order).encode())  # not as arguments: others on the box can read those
    child.stdin.close()
    seen, seen_at = -1, time.monotonic()
    try:
        while child.poll() is None:
            count = _on_disk(transfer.part)
            if count != seen:
                seen, seen_at = count, time.monotonic()
                advanced(min(count, transfer.file.bytes))
            elif time.monotonic() - seen_at > stalled_seconds:
                return f"nothing came for {stalled_seconds:.0f} s"
            time.sleep(0.1)
        if child.returncode:
            return (
                child.stderr.read().decode(errors="replace").strip()[-300:] or f"exit code {child.returncode}"
            )
        size = transfer.part.stat().st_size
        return "" if size == transfer.file.bytes else f"it brought {size} bytes of {transfer.file.bytes}"
    finally:
        child.kill()
        child.wait()
        child.stderr.close()


def _discard(transfer: FileTransfer) -> None:
    if transfer.journal:
        transfer.journal.remove()  # it describes a part file of our own downloader
    transfer.part.unlink(missing_ok=True)
    shutil.rmtree(_folder(transfer.part), ignore_errors=True)


def _folder(part: Path) -> Path:
    """Where huggingface_hub downloads to, under names of its own."""
    return part.with_name(part.name + ".hub")


def _on_disk(part: Path) -> int:
    places = [part]
    for folder, _, names in os.walk(_folder(part)):
        places += [Path(folder, name) for name in names]
    count = 0
    for place in places:
        with suppress(OSError):  # it was renamed meanwhile
            count += place.stat().st_blocks * 512
    return count


def main() -> int:
    """Do what stdin asks for; the reason of a failure goes to stderr, without any address."""
    order = json.load(sys.stdin)
    part = Path(order["part"])
    try:
        if order["downloader"] == "hf-transfer":
            import hf_transfer

            headers = {"authorization": order["authorization"]} if order["authorization"] else {}
            hf_transfer.download(order["url"], str(part), CONNECTIONS, CHUNK_BYTES, 3, 5, headers)
        else:
            from huggingface_hub import hf_hub_download

            found = hf_hub_download(
                order["repo"],
                order["path"],
                revision=order["revision"],
                local_dir=_folder(part),
                token=order["token"] or False,
                endpoint=order["endpoint"],
            )
            Path(found).replace(part)
            shutil.rmtree(_folder(part), ignore_errors=True)
    except Exception as error:
        print(f"{type(error).__name__}: {str(error).split('http')[0]}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
