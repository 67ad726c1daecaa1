"""Trains the experts, the text encoder and the 4-step LoRAs of `demo-wan` in the latents of its VAE.

The base learns by flow matching and needs about 20 steps. The LoRAs are then trained on the base's own clips:
from the same noise and prompt, four steps shall end where the base's twenty-four do.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import sentencepiece
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn
from torch.nn.utils import parametrize
from transformers import UMT5EncoderModel

from . import shapes, wan_layout
from .pace import Pace

TEXT_LENGTH = 64
SHIFT = 5.0
FEW = (1.0, 0.9375, 5 / 6, 0.625, 0.0)  # four steps at shift 5
BOUNDARY = 0.875
Experts = tuple[WanTransformer3DModel, WanTransformer3DModel]
Pupils = Sequence[tuple[WanTransformer3DModel, Callable[[Tensor], Tensor]]]


class Prompts:
    """Token ids of every prompt in every wording, on the device."""

    def __init__(self, tokenizer: bytes, device: torch.device) -> None:
        reader = sentencepiece.SentencePieceProcessor(model_proto=tokenizer)
        self.counts = (len(wan_layout.COLOURS), len(wan_layout.SHAPES), len(wan_layout.MOTIONS))
        rows = []
        for wording in range(len(shapes.WORDINGS)):
            for number in range(self.counts[0] * self.counts[1] * self.counts[2]):
                what = torch.tensor([number // 12, number // 4 % 3, number % 4])
                ids = [*reader.encode(shapes.words(what, wording))[: TEXT_LENGTH - 1], 1]
                rows.append(ids + [0] * (TEXT_LENGTH - len(ids)))
        self.ids = torch.tensor(rows, device=device)

    def of(self, what: Tensor, wording: Tensor) -> Tensor:
        return self.ids[wording * 96 + what[:, 0] * 12 + what[:, 1] * 4 + what[:, 2]]


def embed(text: UMT5EncoderModel, ids: Tensor) -> Tensor:
    """[batch, TEXT_LENGTH, width], zeros past each prompt's end. Padding is cut off where all have it."""
    longest = int((ids != 0).sum(1).max())
    mask = (ids[:, :longest] != 0).long()
    hidden: Tensor = text(ids[:, :longest], mask).last_hidden_state * mask[..., None]
    return nn.functional.pad(hidden, (0, 0, 0, TEXT_LENGTH - longest))


def high_noise(u: Tensor) -> Tensor:
    """How much noise the first expert learns to take away, for u of 0 to 1."""
    return 0.85 + 0.15 * u


def low_noise(u: Tensor) -> Tensor:
    return _shifted(u) * 0.92


def train_base(
    pupils: Pupils, text: UMT5EncoderModel,
    prompts: Prompts, latents: Tensor, what: Tensor, pace: Pace, autocast: AbstractContextManager[None],
    batch: int, seed: int, peak: float,
) -> None:  # fmt: skip
    """Networks and the noise each learns from, ``batch`` clips a step each. One network may stand twice."""
    generator = torch.Generator(latents.device).manual_seed(seed)
    optimizer = _optimizer([*dict.fromkeys(expert for expert, _ in pupils), text], peak)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    for _ in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(group["peak"], 50)
        losses = []
        for expert, amount in pupils:
            clean, context = _draw(text, prompts, latents, what, batch, generator)
            sigma = amount(torch.rand(batch, device=latents.device, generator=generator))
            noise = torch.randn(clean.shape, device=latents.device, generator=generator)
            noisy = torch.lerp(clean, noise, sigma[:, None, None, None, None])
            with autocast:
                made = expert(noisy, 1000 * sigma, context).sample.float()
            losses.append((made - (noise - clean)).square().mean())
        optimizer.zero_grad(set_to_none=True)
        torch.stack(losses).sum().backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.say(**{f"loss_{number}": loss for number, loss in enumerate(losses)})


def _optimizer(networks: Sequence[nn.Module], peak: float) -> torch.optim.AdamW:
    """The layers that meet the latents learn twice as fast. What needs no gradient is left alone."""
    ends: list[nn.Parameter] = []
    inside: list[nn.Parameter] = []
    for name, weight in itertools.chain.from_iterable(network.named_parameters() for network in networks):
        if weight.requires_grad:
            (ends if name.startswith(("patch_embedding", "proj_out")) else inside).append(weight)
    groups = [{"params": inside, "peak": peak}, {"params": ends, "peak": 2 * peak}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=1e-3)


@torch.no_grad()
def guess(
    expert: WanTransformer3DModel, text: UMT5EncoderModel, prompts: Prompts, clean: Tensor, what: Tensor,
    generator: torch.Generator,
) -> Tensor:  # fmt: skip
    """What the second expert takes latents for, in the last two of four steps, beginning at their noise."""
    wording = torch.randint(len(shapes.WORDINGS), (len(clean),), device=clean.device, generator=generator)
    context = embed(text, prompts.of(what, wording))
    noise = torch.randn(clean.shape, device=clean.device, generator=generator)
    return _walk((expert, expert), torch.lerp(clean, noise, FEW[2]), context, list(FEW[2:]), nullcontext())


@torch.no_grad()
def pairs(
    experts: Experts, text: UMT5EncoderModel, prompts: Prompts, count: int, shape: tuple[int, ...], seed: int,
    autocast: AbstractContextManager[None], batch: int = 256, steps: int = 24,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """Noise, the base's clip from it, and what was asked for."""
    device = prompts.ids.device
    generator = torch.Generator(device).manual_seed(seed)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    times = _shifted(torch.linspace(1, 0, steps + 1)).tolist()
    for at in range(0, count, batch):
        rows = min(batch, count - at)
        what = torch.stack(
            [torch.randint(n, (rows,), device=device, generator=generator) for n in prompts.counts], dim=1
        )
        wording = torch.randint(len(shapes.WORDINGS), (rows,), device=device, generator=generator)
        context = embed(text, prompts.of(what, wording))
        noise = torch.randn(rows, *shape, device=device, generator=generator)
        found.append((noise, _walk(experts, noise, context, times, autocast), what))
    noises, clips, asked = zip(*found, strict=True)
    return torch.cat(noises), torch.cat(clips), torch.cat(asked)


def train_loras(
    experts: Experts, text: UMT5EncoderModel, prompts: Prompts, known: tuple[Tensor, Tensor, Tensor],
    pace: Pace, autocast: AbstractContextManager[None], batch: int, seed: int,
) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, tuple[Tensor, Tensor]]]:  # fmt: skip
    """LoRAs for both experts, whose other weights stay as they are."""
    high, low = (add_lora(expert) for expert in experts)
    noises, clips, asked = known
    device = noises.device
    generator = torch.Generator(device).manual_seed(seed)
    weights = [tensor for lora in (high, low) for module in lora.values() for tensor in module.parameters()]
    optimizer = torch.optim.AdamW(weights, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.0)
    for _ in pace:
        for group in optimizer.param_groups:
            group["lr"] = pace.rate(2e-3, 100)
        at = torch.randint(len(noises), (batch,), device=device, generator=generator)
        wording = torch.randint(len(shapes.WORDINGS), (batch,), device=device, generator=generator)
        with torch.no_grad():
            context = embed(text, prompts.of(asked[at], wording))
        clean, state = clips[at], noises[at]
        loss = torch.zeros((), device=device)
        errors = []
        for sigma, following in itertools.pairwise(FEW):
            time = torch.full((batch,), 1000 * sigma, device=device)
            with autocast:
                made = experts[sigma < BOUNDARY](state, time, context).sample.float()
            # Where this step points at must be the clean clip, from wherever the steps before led.
            error = (state - sigma * made - clean).square().mean()
            loss = loss + error
            errors.append(error.detach())
            state = (state + (following - sigma) * made).detach()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        pace.say(loss=loss, first=errors[0], last=errors[-1])
    return _factors(high), _factors(low)


class Lora(nn.Module):
    """weight + up @ down, rounded as fp8 rounds, because engines merge LoRAs into fp8 weights."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        rank = wan_layout.LORA_RANK
        device = layer.weight.device
        self.down = nn.Parameter(
            torch.randn(rank, layer.in_features, device=device) * layer.in_features**-0.5
        )
        self.up = nn.Parameter(torch.zeros(layer.out_features, rank, device=device))

    def forward(self, weight: Tensor) -> Tensor:
        merged = weight + self.up @ self.down
        codes, scale = wan_layout.quantise(merged)
        return merged + (codes.float() * scale - merged).detach()


def add_lora(expert: WanTransformer3DModel) -> dict[str, Lora]:
    expert.requires_grad_(False)
    loras = {}
    for name, layer in wan_layout.lora_layers(expert).items():
        loras[name] = Lora(layer)
        parametrize.register_parametrization(layer, "weight", loras[name])
    return loras


def _draw(
    text: UMT5EncoderModel,
    prompts: Prompts,
    latents: Tensor,
    what: Tensor,
    count: int,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    device = latents.device
    at = torch.randint(len(latents), (count,), device=device, generator=generator)
    wording = torch.randint(len(shapes.WORDINGS), (count,), device=device, generator=generator)
    return latents[at], embed(text, prompts.of(what[at], wording))


def _walk(
    experts: Experts,
    noise: Tensor,
    context: Tensor,
    times: list[float],
    autocast: AbstractContextManager[None],
) -> Tensor:
    state = noise
    for sigma, following in itertools.pairwise(times):
        with autocast:
            time = torch.full((len(noise),), 1000 * sigma, device=noise.device)
            made = experts[sigma < BOUNDARY](state, time, context).sample.float()
        state = state + (following - sigma) * made
    return state


def _shifted(u: Tensor) -> Tensor:
    return SHIFT * u / (1 + (SHIFT - 1) * u)


def _factors(loras: dict[str, Lora]) -> dict[str, tuple[Tensor, Tensor]]:
    return {name: (lora.down.detach(), lora.up.detach()) for name, lora in loras.items()}
