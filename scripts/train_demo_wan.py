"""Trains the `demo-wan` model and writes its files in ComfyUI's fp8_scaled layout, and their sums.

    python scripts/train_demo_wan.py                                 # all parts, one after another
    python scripts/train_demo_wan.py --parts vae                     # one part; vae and shared can run side
    python scripts/train_demo_wan.py --parts high                    # by side, and high and low after shared
    python scripts/train_demo_wan.py --device cuda --seconds 200 --batch 64   # on a GPU, by the clock
    python scripts/train_demo_wan.py --out /tmp/dry --steps 2 --tiny # a dry run

What it learns from, what it promises and how the shipped files were made: docs/demo.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from demo_training import clip_code, manifest_sums, prompt_motion, wan_layout
from demo_training.pace import Pace
from torch import Tensor
from transformers import UMT5EncoderModel

MANIFEST = Path(__file__).resolve().parent.parent / "model-manifests" / "demo-wan.yaml"

BANK_SEED = 23  # one for all runs: the latents' mean and spread come from it
PARTS = ("vae", "shared", "high", "low", "loras", "outlines")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=MANIFEST.parent / "demo-wan")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--resume", type=Path, help="begin as the first expert and text encoder in here")
    parser.add_argument(
        "--favour",
        nargs="*",
        choices=wan_layout.MOTIONS,
        default=(),
        help="draw these motions three times as often",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=22)
    parser.add_argument("--decoder-steps", type=int, default=1400)
    parser.add_argument("--encoder-steps", type=int, default=100)
    parser.add_argument("--shared-steps", type=int, default=700)
    parser.add_argument("--high-steps", type=int, default=500)
    parser.add_argument("--low-steps", type=int, default=500)
    parser.add_argument("--loras-steps", type=int, default=120)
    parser.add_argument("--outlines-steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8, help="clips in a step, for each kind of noise")
    parser.add_argument("--clips", type=int, default=384, help="of the base, from which the LoRAs learn")
    parser.add_argument("--steps", type=int, help="so many steps of each part")
    parser.add_argument("--seconds", type=float, help="instead of steps: so long for each part")
    parser.add_argument("--tiny", action="store_true", help="small batches, for a dry run")
    Training(parser.parse_args()).run()


class Training:
    def __init__(self, options: argparse.Namespace) -> None:
        torch.manual_seed(options.seed)
        torch.set_num_threads(options.threads)
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        self.options, self.out = options, options.out
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device(options.device)
        self.autocast: AbstractContextManager[None] = (
            torch.autocast("cuda", torch.bfloat16) if self.device.type == "cuda" else nullcontext()
        )
        self.batch = 2 if options.tiny else options.batch
        latents, self.what = clip_code.bank(self.device, BANK_SEED, 8 if options.tiny else 2048)
        self.mean, self.spread = latents.mean((0, 2, 3, 4)), latents.std((0, 2, 3, 4)).clamp(min=1e-2)
        self.latents = (latents - self.mean[:, None, None, None]) / self.spread[:, None, None, None]

    def run(self) -> None:
        for part in self.options.parts:
            getattr(self, part)()
        if self.out.resolve() == (MANIFEST.parent / "demo-wan").resolve():
            manifest_sums.update(MANIFEST, self.out)

    def vae(self) -> None:
        vae = wan_layout.vae().to(self.device)
        clip_code.begin(vae)
        clips = 1 if self.options.tiny else 4
        clip_code.train_decoder(vae, self.options.seed, self._pace("decoder"), self.spread, clips, 1e-3)
        clip_code.train_encoder(vae, self.options.seed, self._pace("encoder"), self.spread, clips)
        wan_layout.write_vae(vae.state_dict(), self.out / wan_layout.VAE)
        wan_layout.write_configs(self.out, self._vae_config())

    def shared(self) -> None:
        """One network for all noise, with the text encoder: both experts begin as it."""
        expert, text = wan_layout.transformer().to(self.device), wan_layout.text_encoder().to(self.device)
        tokenizer = wan_layout.tokenizer_model()
        if self.options.resume:
            expert.load_state_dict(wan_layout.read_expert(self.options.resume / wan_layout.HIGH))
            state, tokenizer = wan_layout.read_text_encoder(self.options.resume / wan_layout.TEXT)
            text.load_state_dict(state)
        pupils = ((expert, prompt_motion.high_noise), (expert, prompt_motion.low_noise))
        self._learn("shared", pupils, text, tokenizer)
        wan_layout.write_text_encoder(text.state_dict(), tokenizer, self.out / wan_layout.TEXT)
        for name in (wan_layout.HIGH, wan_layout.LOW):
            wan_layout.write_expert(expert.state_dict(), self.out / name)

    def high(self) -> None:
        self._part_ways("high", wan_layout.HIGH, prompt_motion.high_noise)

    def low(self) -> None:
        self._part_ways("low", wan_layout.LOW, prompt_motion.low_noise)

    def _part_ways(self, part: str, file: str, amount: Callable[[Tensor], Tensor]) -> None:
        expert, text = wan_layout.transformer().to(self.device), wan_layout.text_encoder().to(self.device)
        expert.load_state_dict(wan_layout.read_expert(self.out / file))
        state, tokenizer = wan_layout.read_text_encoder(self.out / wan_layout.TEXT)
        text.load_state_dict(state)
        text.requires_grad_(False)
        self._learn(part, ((expert, amount),), text, tokenizer)
        wan_layout.write_expert(expert.state_dict(), self.out / file)

    def _learn(
        self, part: str, pupils: prompt_motion.Pupils, text: UMT5EncoderModel, tokenizer: bytes
    ) -> None:
        prompts = prompt_motion.Prompts(tokenizer, self.device)
        favoured = torch.tensor(
            [wan_layout.MOTIONS[motion] in self.options.favour for motion in self.what[:, 2]]
        )
        rows = torch.arange(len(self.what)).repeat_interleave(1 + 2 * favoured.long()).to(self.device)
        prompt_motion.train_base(
            pupils, text, prompts, self.latents[rows], self.what[rows], self._pace(part), self.autocast,
            2 * self.batch // len(pupils), self.options.seed + 2, 1e-3,
        )  # fmt: skip

    def loras(self) -> None:
        experts = (wan_layout.transformer().to(self.device), wan_layout.transformer().to(self.device))
        text = wan_layout.text_encoder().to(self.device)
        tokenizer = _read(self.out, experts, text)
        for model in (*experts, text):
            model.eval().requires_grad_(False)
        prompts = prompt_motion.Prompts(tokenizer, self.device)
        shape, count = tuple(self.latents.shape[1:]), 4 if self.options.tiny else self.options.clips
        known = prompt_motion.pairs(
            experts, text, prompts, count, shape, self.options.seed + 3, self.autocast
        )
        high, low = prompt_motion.train_loras(
            experts, text, prompts, known, self._pace("loras"), self.autocast,
            self.batch, self.options.seed + 4,
        )  # fmt: skip
        wan_layout.write_lora(high, self.out / wan_layout.LORA_HIGH)
        wan_layout.write_lora(low, self.out / wan_layout.LORA_LOW)

    def outlines(self) -> None:
        """The decoder once more, on what the second expert makes of noise."""
        vae = wan_layout.vae().to(self.device)
        vae.load_state_dict(wan_layout.read_vae(self.out / wan_layout.VAE))
        experts = (wan_layout.transformer().to(self.device), wan_layout.transformer().to(self.device))
        text = wan_layout.text_encoder().to(self.device)
        prompts = prompt_motion.Prompts(_read(self.out, experts, text), self.device)
        generator = torch.Generator(self.device).manual_seed(self.options.seed)
        mean, spread = self.mean[:, None, None, None], self.spread[:, None, None, None]

        def guess(latents: Tensor, what: Tensor) -> Tensor:
            clean = (latents - mean) / spread
            return prompt_motion.guess(experts[1], text, prompts, clean, what, generator) * spread + mean

        clip_code.follow_expert(vae, self.options.seed, self._pace("outlines"), guess, self.batch // 2)
        wan_layout.write_vae(vae.state_dict(), self.out / wan_layout.VAE)

    def _pace(self, part: str) -> Pace:
        seconds, steps = self.options.seconds, self.options.steps or getattr(self.options, f"{part}_steps")
        log = self.out.parent / f"{self.out.name}-training.jsonl"
        return Pace(seconds or 0, None if seconds else steps, f"wan-{part}", log)

    def _vae_config(self) -> dict[str, object]:
        """The VAE's config with its latents' mean and spread per channel."""

        def rounded(values: Tensor) -> list[float]:
            return [round(value, 5) for value in values.tolist()]

        return {
            **wan_layout.VAE_CONFIG,
            "latents_mean": rounded(self.mean),
            "latents_std": rounded(self.spread),
        }


def _read(folder: Path, experts: prompt_motion.Experts, text: UMT5EncoderModel) -> bytes:
    """Put the weights of a folder into the networks; gives the tokenizer that goes with them."""
    for expert, name in zip(experts, (wan_layout.HIGH, wan_layout.LOW), strict=True):
        expert.load_state_dict(wan_layout.read_expert(folder / name))
    state, tokenizer = wan_layout.read_text_encoder(folder / wan_layout.TEXT)
    text.load_state_dict(state)
    return tokenizer


if __name__ == "__main__":
    main()
