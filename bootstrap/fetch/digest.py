"""SHA-256 whose inner state can be kept, so that hashing can continue or check from any piece on.

SHA-256 reads a file in blocks of 64 bytes and carries 32 bytes of state from block to block. Kept at every
16 MiB, the states let pieces be checked in any order and at the same time: piece k is right when it turns
state k into state k+1. A chain of right pieces that begins at SHA-256's own start and ends in the
published digest *is* that digest. So kept states need no trust, and no byte is hashed twice.

``hashlib`` does not give its state out; OpenSSL's library does. Where it cannot be loaded, files are
hashed from front to back with ``hashlib`` and nothing is kept.
"""

from __future__ import annotations

import ctypes
import hashlib
from functools import cache
from typing import Protocol

PIECE_BYTES = 16 * 1024**2


class Digest(Protocol):
    """What hashes a stretch of a file. ``update`` runs without the GIL."""

    def update(self, data: memoryview, /) -> None: ...
    def hexdigest(self) -> str: ...


class _Context(ctypes.Structure):
    """OpenSSL's SHA256_CTX: a public struct, the same since 0.9.8."""

    _fields_ = (
        ("h", ctypes.c_uint32 * 8),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("data", ctypes.c_uint32 * 16),
        ("num", ctypes.c_uint),
        ("md_len", ctypes.c_uint),
    )


class Chain:
    """SHA-256 that starts at the front of a file, or at a kept state some pieces later."""

    def __init__(self, library: ctypes.CDLL, state: bytes | None = None, offset: int = 0) -> None:
        self._library = library
        self._context = _Context()
        library.SHA256_Init(ctypes.byref(self._context))
        if state is not None:
            self._context.h[:] = [int.from_bytes(state[i : i + 4], "big") for i in range(0, 32, 4)]
            self._context.bits_low = (offset * 8) & 0xFFFFFFFF
            self._context.bits_high = (offset * 8) >> 32

    def update(self, data: memoryview, /) -> None:
        """Hash ``data``, which must be a writable buffer (its address is taken, not its copy)."""
        first = ctypes.c_char.from_buffer(data)
        self._library.SHA256_Update(ctypes.byref(self._context), ctypes.byref(first), len(data))

    def state(self) -> bytes:
        """The 32 bytes that lead to the next piece; asked for only at multiples of 64 bytes."""
        assert self._context.num == 0, "a state exists only between blocks"
        return b"".join(int(word).to_bytes(4, "big") for word in self._context.h)

    def hexdigest(self) -> str:
        copy = _Context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(32)
        self._library.SHA256_Final(digest, ctypes.byref(copy))
        return digest.raw.hex()


@cache
def library() -> ctypes.CDLL | None:
    """OpenSSL's library, if it can be loaded and gives the right answers."""
    for name in ("libcrypto.so.3", "libcrypto.so.1.1"):
        try:
            found = ctypes.CDLL(name)
            pointer = ctypes.c_void_p
            found.SHA256_Init.argtypes = (pointer,)
            found.SHA256_Update.argtypes = (pointer, pointer, ctypes.c_size_t)
            found.SHA256_Final.argtypes = (pointer, pointer)
        except (OSError, AttributeError):
            continue
        if _is_right(found):
            return found
    return None


def _is_right(candidate: ctypes.CDLL) -> bool:
    sample = bytearray(range(256)) * 3
    whole = hashlib.sha256(sample).hexdigest()
    first = Chain(candidate)
    first.update(memoryview(sample)[:512])
    second = Chain(candidate, first.state(), 512)
    second.update(memoryview(sample)[512:])
    return second.hexdigest() == whole


def sha256(state: bytes | None = None, offset: int = 0) -> Digest:
    """SHA-256 from the front, or (with OpenSSL's library) from a kept state on."""
    found = library()
    if found is not None:
        return Chain(found, state, offset)
    assert state is None, "states are kept only where they can be continued"
    return hashlib.sha256()


def git_oid(size: int) -> Digest:
    """The id that git gives a file of this size."""
    return hashlib.sha1(f"blob {size}\0".encode(), usedforsecurity=False)
