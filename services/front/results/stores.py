"""A place for finished clips: any address that fsspec knows, such as ``s3://bucket/folder`` or ``file:///mnt``.

Its keys come from the environment, by the names that its own tools use (``AWS_ACCESS_KEY_ID`` …). A name that
is there is whole: object stores write at once, elsewhere a part gets its name at the end.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MIB = 1024**2
PART_BYTES = 16 * MIB  # of a large file, sent as several; below two of them it is sent as one
PART = ".part"
FILE_SYSTEMS = frozenset({"file", "local", "sftp", "ssh", "ftp", "smb"})
S3 = frozenset({"s3", "s3a"})


class Store:
    """``address``: where names begin. ``endpoint_url``: an S3 that is not Amazon's; else the environment's.

    Methods may take long, belong into a thread, and raise whatever the storage's library has.
    """

    def __init__(self, address: str, endpoint_url: str | None = None) -> None:
        self.address = address.rstrip("/")
        self._endpoint_url = endpoint_url

    def put(self, file: Path, name: str) -> str:
        """Copy a file there; its new address. OSError when what arrived is not what was sent."""
        storage, target = self._at(name)
        if _is_object_store(storage):
            options = {"chunksize": PART_BYTES} if _is_s3(storage) else {}
            storage.put_file(str(file), target, **options)
            _verify(storage, target, file)
        else:
            storage.makedirs(target.rpartition("/")[0], exist_ok=True)
            storage.put_file(str(file), target + PART)
            _verify(storage, target + PART, file)
            storage.mv(target + PART, target)
        return f"{self.address}/{name}"

    def write(self, data: bytes, name: str) -> None:
        """A small file, at once."""
        storage, target = self._at(name)
        if not _is_object_store(storage):
            storage.makedirs(target.rpartition("/")[0], exist_ok=True)
        storage.pipe_file(target, data)

    def sign(self, address: str, seconds: int) -> str | None:
        """A link by which anybody can fetch it for so long; None where the store has none."""
        storage, target = self._at(address.removeprefix(f"{self.address}/"))
        with suppress(NotImplementedError):
            return str(storage.sign(target, expiration=seconds))
        return None

    def _at(self, name: str) -> tuple[Any, str]:
        from fsspec.core import url_to_fs  # with s3fs a second of imports: only where it is asked for

        is_s3 = self.address.partition(":")[0] in S3
        options = s3_options(self._endpoint_url, os.environ) if is_s3 else {}
        storage, folder = url_to_fs(self.address, **options)
        return storage, f"{folder}/{name}"


def s3_options(endpoint_url: str | None, env: Mapping[str, str]) -> dict[str, Any]:
    """How S3 is spoken to, so that stores which are like it understand it, too."""
    endpoint = endpoint_url or env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL") or ""
    region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
    config: dict[str, Any] = {
        "signature_version": "s3v4"
    }  # links of the older kind are refused by R2 and others
    if endpoint and not (urlsplit(endpoint).hostname or "").endswith("amazonaws.com"):
        # Amazon's newer checksums are unknown to several stores, which then refuse the upload.
        for name in ("request_checksum_calculation", "response_checksum_validation"):
            config[name] = env.get(f"AWS_{name.upper()}", "when_required")
    options: dict[str, Any] = {"config_kwargs": config, "use_listings_cache": False}
    if region:
        options["client_kwargs"] = {"region_name": region}
    return options | ({"endpoint_url": endpoint_url} if endpoint_url else {})


def _protocols(storage: Any) -> set[str]:
    named = storage.protocol
    return {named} if isinstance(named, str) else set(named)


def _is_object_store(storage: Any) -> bool:
    """Such a store has an object when all of it is there; a file elsewhere appears with its first byte."""
    return not FILE_SYSTEMS & _protocols(storage)


def _is_s3(storage: Any) -> bool:
    return bool(S3 & _protocols(storage))


def _verify(storage: Any, target: str, file: Path) -> None:
    """By size, and where the store tells a hash, by that; bytes are read back where it is another hash."""
    storage.invalidate_cache()
    found = storage.info(target)
    arrived, sent = int(found["size"]), file.stat().st_size
    if arrived != sent:
        raise OSError(f"{arrived} of {sent} bytes arrived")
    tag = str(found.get("ETag") or "").strip('"')
    if tag and tag != _tag(file) and not _is_same(storage, target, file):
        raise OSError(f"{sent} bytes arrived, and not those that were sent")


def _tag(file: Path) -> str:
    """The ETag that S3 gives to what is sent in parts of this size; encrypted objects have others."""
    size, parts = file.stat().st_size, []
    step = PART_BYTES if size >= 2 * PART_BYTES else max(size, 1)
    with file.open("rb") as source:
        while part := source.read(step):
            parts.append(hashlib.md5(part, usedforsecurity=False))
    if step != PART_BYTES:
        return parts[0].hexdigest() if parts else ""
    whole = hashlib.md5(b"".join(part.digest() for part in parts), usedforsecurity=False)
    return f"{whole.hexdigest()}-{len(parts)}"


def _is_same(storage: Any, target: str, file: Path) -> bool:
    with storage.open(target, "rb") as there, file.open("rb") as here:
        while True:
            mine = here.read(PART_BYTES)
            if there.read(PART_BYTES) != mine:
                return False
            if not mine:
                return True
