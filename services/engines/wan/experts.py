"""The transformers of one model: two experts, or one; loaded, placed, and run one forward at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from services.engines.base import Report
from services.engines.wan import fused
from services.engines.wan.expert import Expert
from services.engines.wan.settings import Settings
from services.engines.weights.loader import Loader
from services.engines.weights.offload import STREAM_SLOTS, Key, Offload

HIGH, LOW = "high_noise", "low_noise"
BLOCKS_AT_ONCE = 4  # read and widened together, where that takes more than the blocks themselves


class Experts:
    """``open`` takes one's files, ``prepare`` loads with the wanted LoRA strengths, ``forward`` runs one."""

    def __init__(
        self,
        roles: Sequence[str],
        config: Mapping[str, Any],
        settings: Settings,
        device: torch.device,
        loader: Loader,
    ) -> None:
        self._device = device
        self._loader = loader
        self.compute = torch.bfloat16 if device.type == "cuda" else torch.float32
        self.roles = tuple(roles)
        self._config = config
        self._matmul = settings.matmul
        self._experts: dict[str, Expert] = {}
        placement = settings.experts
        if placement == "swap" and len(self.roles) == 1:
            placement = "resident"  # nothing to swap with
        blocks = int(config["num_layers"])
        slots = {"resident": 0, "swap": blocks, "stream": STREAM_SLOTS}[placement]
        self._store = Offload(blocks, slots, device)
        self._outside: dict[str, Tensor] = {}
        self._strengths: dict[str, float] = {}
        self._fused = self._matmul == "fp8"

    def open(self, role: str, path: Path, lora: Path | None) -> None:
        """Hold the files against the class; nothing big is read before ``prepare``."""
        expert = Expert(role, path, self._config, compute=self.compute, matmul=self._matmul, lora=lora)
        self._experts[role] = expert

    def prepare(self, strengths: Mapping[str, float], report: Report) -> None:
        """Load what is open and not there yet, or was merged with another strength."""
        wanted = {role: strengths.get(role, 0.0) for role in self._experts}
        stale = [role for role, expert in self._experts.items() if self._is_stale(expert, wanted[role])]
        total, done = sum(self._experts[role].nbytes for role in stale), 0

        def count(nbytes: int) -> None:
            nonlocal done
            done += nbytes
            report("load", min(done, total), total)

        for role, expert in self._experts.items():
            if role in stale:
                self._strengths.pop(role, None)
                self._load(role, expert, wanted[role], count)
            expert.set_strength(wanted[role])
            self._strengths[role] = wanted[role]

    def _is_stale(self, expert: Expert, strength: float) -> bool:
        loaded = self._strengths.get(expert.role)
        return loaded is None or (expert.merges and loaded != strength)

    @torch.inference_mode()
    def forward(
        self, role: str, latents: Tensor, timestep: Tensor, text: Tensor, *, next_role: str | None
    ) -> Tensor:
        """The velocity for ``latents`` [1, channels, frames, h, w]; ``timestep`` is [1], or [1, tokens].

        ``next_role`` is the expert of the forward after this one, so that its blocks can be on their way.
        """
        expert = self._experts[role]
        forward = partial(fused.forward, expert.model) if self._fused else expert.model
        if self._store.resident:
            return forward(latents, timestep, text, _nothing, _nothing)

        def enter(number: int) -> None:
            expert.bind(expert.blocks[number].views(self._store.acquire(Key(role, number))))

        def leave(number: int) -> None:
            self._store.release(Key(role, number), next_role)

        return forward(latents, timestep, text, enter, leave)

    def _load(self, role: str, expert: Expert, strength: float, count: Callable[[int], None]) -> None:
        outside = self._outside.get(role)
        if outside is None:
            outside = self._outside[role] = self._buffer(expert.outside.nbytes)
            expert.bind(expert.outside.views(outside))
        at_once = self._store.resident and expert.reads_in_place
        group = len(expert.blocks) if at_once else BLOCKS_AT_ONCE
        with torch.inference_mode():
            expert.fill([(expert.outside, outside)], self._loader, strength, count)
            for start in range(0, len(expert.blocks), group):
                numbers = range(start, min(start + group, len(expert.blocks)))
                buffers = {number: self._block_buffer(role, expert, number) for number in numbers}
                layouts = [(expert.blocks[number], buffer) for number, buffer in buffers.items()]
                expert.fill(layouts, self._loader, strength, count)
                for number, buffer in buffers.items():
                    self._store.put(Key(role, number), buffer)
                    if self._store.resident:
                        expert.bind(expert.blocks[number].views(buffer))

    def _block_buffer(self, role: str, expert: Expert, number: int) -> Tensor:
        """Resident blocks are filled again where they are: there may be no room for a second expert."""
        key = Key(role, number)
        if self._store.resident and self._store.holds(key):
            return self._store.acquire(key)
        return self._buffer(expert.blocks[number].nbytes)

    def _buffer(self, nbytes: int) -> Tensor:
        return torch.empty(nbytes, dtype=torch.uint8, device=self._device)


def _nothing(_: int) -> None:
    """Resident blocks are always in place."""
