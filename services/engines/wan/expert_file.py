"""A transformer's file, in Wan's names or in diffusers', with or without a prefix."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from services.engines.wan import key_map
from services.engines.weights import checkpoint
from services.engines.weights import safetensors as files
from services.engines.weights.checkpoint import Checkpoint


def open_expert(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Checkpoint:
    """Read the headers and hold them against ``shapes``, the model's tensors.

    Raises:
        KitError: names what is missing, unknown, misshapen, or quantised in a way that the kit cannot read.
    """
    found = files.open_weights(path)
    found.stored.pop(checkpoint.MARKER, None)  # stands without the prefix in some files
    prefix = next(p for p in key_map.PREFIXES if not p or any(name.startswith(p) for name in found.stored))
    strange = sorted(name for name in found.stored if not name.startswith(prefix))
    if strange:
        raise checkpoint.misfit(path, f"{len(strange)} unknown: {checkpoint.few(strange)}")
    bare = replace(found, stored={name.removeprefix(prefix): entry for name, entry in found.stored.items()})
    ours = "condition_embedder.time_proj.weight" in bare.stored  # a file that already has our names
    spelled = {name: name if ours else key_map.original(name) for name in shapes}
    return checkpoint.check(bare, shapes, spelled=spelled)
