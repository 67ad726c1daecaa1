"""One Wan transformer with its files: FP8 layers where the file has them, its tensors in flat buffers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from services.engines.wan import expert_file, key_map, lora
from services.engines.wan.lora import Pair
from services.engines.wan.settings import Matmul
from services.engines.wan.transformer import Transformer
from services.engines.weights import flat_buffer, fp8_linear, linear
from services.engines.weights.flat_buffer import Layout, TensorSpec
from services.engines.weights.fp8_linear import Fp8Linear
from services.engines.weights.linear import Linear
from services.engines.weights.loader import Loader

FP8 = torch.float8_e4m3fn
# Their rounding shows in a clip; the rest follows the compute dtype.
IN_FLOAT32 = ("scale_shift_table", ".norm2.", ".time_embedder.")
# The fused forward reads these vectors in float32, too; the exact one in the compute dtype.
FUSED_IN_FLOAT32 = (".norm_q.", ".norm_k.")
# Same kinds side by side, so that q, k and v lie together and can be used as one layer.
KINDS = (".codes", ".scale", ".weight", ".bias")


class Expert:
    """A transformer whose tensors are put in place by ``bind``; nothing is allocated before."""

    def __init__(
        self,
        role: str,
        path: Path,
        config: Mapping[str, Any],
        *,
        compute: torch.dtype,
        matmul: Matmul,
        lora: Path | None,
    ) -> None:
        self.role = role
        self.compute = compute
        self.model = Transformer(config)
        self.file = expert_file.open_expert(path, linear.shapes(self.model))
        self.pairs = self._open_lora(lora)
        self._matmul = matmul
        self._narrow()
        self.outside, self.blocks = self._lay_out()
        self._targets = {name: self._owner(name) for name in self._tensors()}

    @property
    def merges(self) -> bool:
        """True when a LoRA becomes part of the weights, so that another strength means loading again."""
        return any(not self._apart(name) for name in self.pairs)

    @property
    def nbytes(self) -> int:
        """What the model takes where it computes."""
        return self.outside.nbytes + sum(block.nbytes for block in self.blocks)

    @property
    def reads_in_place(self) -> bool:
        """True when the file's bytes are the block's, so that loading takes hardly more than they do."""
        return any(self.file.is_fp8(name) for name in self.file.stored)

    def set_strength(self, strength: float) -> None:
        """Of the LoRA where it is kept apart."""
        for module in self.model.modules():
            if isinstance(module, Fp8Linear):
                module.strength = strength

    def bind(self, views: Mapping[str, Tensor]) -> None:
        """Let the class use these tensors."""
        for name, view in views.items():
            setattr(*self._targets[name], view)

    def fill(
        self,
        layouts: list[tuple[Layout, Tensor]],
        loader: Loader,
        strength: float,
        done: Callable[[int], None],
    ) -> None:
        """Read, widen, merge and quantise into the buffers (uint8, on the device where that is done)."""
        reads: list[tuple[Any, Tensor]] = []
        later: list[Callable[[], None]] = []
        for layout, buffer in layouts:
            views = layout.views(buffer)
            for slot in layout.slots:
                self._plan(slot, views, strength, reads, later)
        loader.load(reads, done)
        for step in later:
            step()

    def _open_lora(self, path: Path | None) -> dict[str, Pair]:
        if path is None:
            return {}
        return lora.open_lora(
            path,
            {
                name: (module.out_features, module.in_features)
                for name, module in self.model.named_modules()
                if isinstance(module, Linear)
            },
        )

    def _narrow(self) -> None:
        def rank(name: str) -> int:
            apart = self._matmul == "exact" and self.file.is_fp8(f"{name}.weight") and name in self.pairs
            return self.pairs[name].rank if apart else 0

        narrow(self.model, self._matmul, lambda name: self.file.is_fp8(f"{name}.weight"), rank)

    def _apart(self, name: str) -> bool:
        module = self.model.get_submodule(name)
        return isinstance(module, Fp8Linear) and module.lora_down is not None

    def _tensors(self) -> dict[str, Tensor]:
        state: dict[str, Tensor] = self.model.state_dict()
        return {
            name: state[name] for name in sorted(state, key=_kind)
        }  # sorted keeps the order within a kind

    def _lay_out(self) -> tuple[Layout, list[Layout]]:
        parts: dict[int | None, list[tuple[str, torch.dtype, tuple[int, ...]]]] = {}
        for name, tensor in self._tensors().items():
            parts.setdefault(key_map.block_of(name), []).append(
                (name, kept_as(name, tensor, self.compute, self._matmul), tuple(tensor.shape))
            )
        outside = flat_buffer.lay_out(parts.pop(None))
        return outside, [
            flat_buffer.lay_out(parts[number]) for number in sorted(n for n in parts if n is not None)
        ]

    def _owner(self, name: str) -> tuple[nn.Module, str]:
        parent, _, leaf = name.rpartition(".")
        return self.model.get_submodule(parent), leaf

    def _plan(
        self,
        slot: TensorSpec,
        views: Mapping[str, Tensor],
        strength: float,
        reads: list[tuple[Any, Tensor]],
        later: list[Callable[[], None]],
    ) -> None:
        """Add what must be read for one slot, and what is to be done with it afterwards."""
        layer, _, leaf = slot.name.rpartition(".")
        view = views[slot.name]
        if leaf == "scale":
            return  # filled with its weight
        if leaf in ("lora_down", "lora_up"):
            pair = self.pairs[layer]
            stored = pair.down if leaf == "lora_down" else pair.up
            raw = _raw(reads, stored, view.device)
            later.append(lambda: _copy(view, raw.float() * (pair.factor if leaf == "lora_up" else 1.0)))
            return
        source = f"{layer}.weight" if leaf == "codes" else slot.name
        stored = self.file.stored[source]
        merging = (
            leaf in ("codes", "weight") and layer in self.pairs and not self._apart(layer) and strength != 0
        )
        if slot.dtype == FP8 and stored.dtype == FP8:
            reads.append((stored, view))
            scale = self.file.scale(source)
            later.append(lambda: _copy(views[f"{layer}.scale"], scale))
            if merging:
                later.append(self._merge_fp8(layer, view, views[f"{layer}.scale"], strength, reads))
            return
        raw = _raw(reads, stored, view.device)
        factors = self._factors(layer, view.device, reads) if merging else None

        def settle() -> None:
            wide = self.file.widen(source, raw)
            if factors is not None:
                wide = wide + lora.delta(factors, self.pairs[layer].factor * strength)
            if slot.dtype == FP8:
                codes, scales = fp8_linear.quantise_rows(wide)
                view.copy_(codes)
                views[f"{layer}.scale"].copy_(scales)
            else:
                view.copy_(wide)

        later.append(settle)

    def _merge_fp8(
        self, layer: str, codes: Tensor, scale: Tensor, strength: float, reads: list[tuple[Any, Tensor]]
    ) -> Callable[[], None]:
        factors = self._factors(layer, codes.device, reads)

        def merge() -> None:
            merged, scales = lora.merge(codes, scale, factors, self.pairs[layer].factor * strength)
            codes.copy_(merged)
            scale.copy_(scales)

        return merge

    def _factors(
        self, layer: str, device: torch.device, reads: list[tuple[Any, Tensor]]
    ) -> tuple[Tensor, Tensor]:
        pair = self.pairs[layer]
        return _raw(reads, pair.down, device), _raw(reads, pair.up, device)


def narrow(
    model: Transformer,
    matmul: Matmul,
    is_fp8: Callable[[str], bool],
    rank: Callable[[str], int] = lambda _: 0,
) -> None:
    """Put FP8 layers where the file has FP8 weights, and in all blocks when products are to be FP8.

    Both are asked for a layer's name; ``rank``: of a LoRA that is kept beside the weight.
    """

    def wanted(name: str) -> bool:
        return is_fp8(name) or (matmul == "fp8" and key_map.block_of(name) is not None)

    linear.narrow(model, wanted, rank)


def kept_as(name: str, tensor: Tensor, compute: torch.dtype, matmul: Matmul) -> torch.dtype:
    """In which dtype a tensor of the narrowed class lies where it computes."""
    if tensor.dtype == FP8:
        return FP8
    in_float32 = IN_FLOAT32 if matmul == "exact" else (*IN_FLOAT32, *FUSED_IN_FLOAT32)
    if name.endswith(".scale") or any(part in f".{name}." for part in in_float32):
        return torch.float32
    return compute


def _raw(reads: list[tuple[Any, Tensor]], stored: Any, device: torch.device) -> Tensor:
    raw = torch.empty(stored.shape, dtype=stored.dtype, device=device)
    reads.append((stored, raw))
    return raw


def _copy(view: Tensor, value: Tensor) -> None:
    view.copy_(value)


def _kind(name: str) -> int:
    return next((rank for rank, kind in enumerate(KINDS) if name.endswith(kind)), len(KINDS))
