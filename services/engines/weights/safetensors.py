"""Reads safetensors files: what the header says, and a tensor's bytes, straight to where they go.

Our own thin reader, because these files are read in pieces: a block here, a sidecar there, and on a GPU by
many threads at once (``services.engines.weights.loader``).
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bootstrap.errors import KitError

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
LARGEST_HEADER = 100 * 1024 * 1024
INDEX = "*.safetensors.index.json"


@dataclass(frozen=True)
class Stored:
    """One tensor in a file; ``start`` counts from the file's first byte."""

    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int
    nbytes: int


@dataclass(frozen=True)
class Weights:
    """The tensors of one file, or of all files of a sharded folder."""

    path: Path
    stored: dict[str, Stored]
    metadata: dict[str, str] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """A copy of one tensor on the CPU, in the file's dtype."""
        return read(self.stored[name])


def open_weights(path: Path) -> Weights:
    """Read the headers of a file, or of a folder's files.

    Raises:
        KitError: no such file, or it is not a whole safetensors file.
    """
    files = _files(path)
    stored: dict[str, Stored] = {}
    metadata: dict[str, str] = {}
    for file in files:
        entries, about = _header(file)
        stored.update(entries)
        metadata.update(about)
    return Weights(path, stored, metadata)


def read(stored: Stored) -> Tensor:
    """A copy of one tensor on the CPU, in the file's dtype."""
    tensor = torch.empty(stored.shape, dtype=stored.dtype)
    read_into(tensor, stored)
    return tensor


def read_into(tensor: Tensor, stored: Stored) -> None:
    """Fill a contiguous CPU tensor with a stored tensor's bytes."""
    if not stored.nbytes:
        return
    target = memoryview(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]
    done = 0
    with stored.path.open("rb", buffering=0) as file:
        while done < stored.nbytes:
            count = os.preadv(file.fileno(), [target[done:]], stored.start + done)
            if not count:
                raise _damaged(stored.path, f"it ends at byte {stored.start + done}")
            done += count


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise KitError(f"{path.name} is not there: {path}", fix="fetch the model again")
    indexes = sorted(path.glob(INDEX))
    if indexes:
        return [path / name for name in _shards(indexes[0])]
    files = sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise KitError(
            f"{path} holds {len(files)} safetensors files and no index; one was expected",
            fix="name the file itself in the manifest's components",
        )
    return files


def _shards(index: Path) -> list[str]:
    try:
        names = {str(name) for name in json.loads(index.read_text())["weight_map"].values()}
    except (ValueError, KeyError, TypeError, AttributeError):
        raise KitError(f"{index} does not list the weights' files", fix="fetch it again") from None
    return sorted(names)


def _header(path: Path) -> tuple[dict[str, Stored], dict[str, str]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > min(LARGEST_HEADER, size - 8):
                raise _damaged(path, f"its header claims {length} bytes of {size}")
            header = json.loads(file.read(length))
        metadata = dict(header.pop("__metadata__", {}))
        return {name: _entry(path, name, about, 8 + length, size) for name, about in header.items()}, metadata
    except FileNotFoundError:
        raise KitError(f"{path.name} is not there: {path}", fix="fetch the model again") from None
    # JSON that nests without end is a RecursionError; the others: no such header, or no such entry.
    except (struct.error, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise _damaged(path, "its header cannot be read") from error


def _entry(path: Path, name: str, about: dict[str, Any], data: int, size: int) -> Stored:
    dtype = DTYPES.get(about["dtype"])
    if dtype is None:
        raise KitError(
            f"{path.name}: {name} is stored as {about['dtype']}, which the kit does not read",
            fix="use a file in F32, F16, BF16 or F8_E4M3",
        )
    start, end = about["data_offsets"]
    count = 1
    for extent in about["shape"]:
        count *= extent
    if end - start != count * dtype.itemsize or start < 0 or data + end > size:
        raise _damaged(path, f"{name} is said to be at bytes {start} to {end} of {size - data}")
    return Stored(path, dtype, tuple(about["shape"]), data + start, end - start)


def _damaged(path: Path, problem: str) -> KitError:
    return KitError(f"{path.name} is not a whole safetensors file: {problem}", fix="fetch it again")
