# ruff: noqa: I001 - ComfyUI's modules must come after its folder is on the path
"""ComfyUI's own loader and sampler on the files that bench_wan.py made: its time, or its latents.

`bench_wan_comfy.py COMFY_FOLDER FILES WIDTH HEIGHT FRAMES SHIFT SEED [--latents OUT.pt --text TEXT.pt]`
Run by bench_wan.py with ComfyUI's folder as the working directory; nothing of ComfyUI is part of this
project.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def main() -> None:
    options = arguments()
    sys.argv = ["main.py"]
    sys.path.insert(0, str(options.comfy))

    import torch

    import folder_paths  # type: ignore[import-not-found]  # ComfyUI's, from here on

    for kind in ("diffusion_models", "loras", "vae"):
        folder_paths.add_model_folder_path(kind, str(options.files), True)
    with torch.inference_mode():
        comfy = Comfy(options)
        if options.latents:
            torch.save(comfy.sample(options.seed).cpu(), options.latents)
            return
        print("COMFY " + json.dumps(measured(comfy, options)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("comfy", type=Path)
    parser.add_argument("files", type=Path)
    for name in ("width", "height", "frames"):
        parser.add_argument(name, type=int)
    parser.add_argument("shift", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--text", type=Path)
    return parser.parse_args()


class Comfy:
    """Both experts as ComfyUI loads them, and its sampler."""

    def __init__(self, options: argparse.Namespace) -> None:
        import torch

        import nodes  # type: ignore[import-not-found]
        from comfy_extras.nodes_model_advanced import ModelSamplingSD3  # type: ignore[import-not-found]

        self.nodes: Any = nodes
        self._files = options.files
        started = time.perf_counter()
        self.experts = []
        for tag in ("high", "low"):
            weights = self.file(f"*{tag}_noise*fp8_scaled.safetensors")
            (model,) = nodes.UNETLoader().load_unet(weights, "default")
            lora = self.file(f"*lora*{tag}_noise.safetensors")
            (model,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, lora, 1.0)
            self.experts.append(ModelSamplingSD3().patch(model, options.shift)[0])
        self.load_seconds = time.perf_counter() - started
        text = torch.load(options.text) if options.text else torch.randn(1, 512, 4096)
        self._prompt: list[list[Any]] = [[text, {}]]
        self._shape = (1, 16, (options.frames - 1) // 4 + 1, options.height // 8, options.width // 8)

    def file(self, pattern: str) -> str:
        found: Path = next(self._files.glob(pattern))
        return found.name

    def sample(self, seed: int) -> torch.Tensor:
        """Latents [1, 16, frames, height, width]: two steps of each expert."""
        import torch

        latent = {"samples": torch.zeros(self._shape)}
        turns = (("enable", 0, 2, "enable"), ("disable", 2, 4, "disable"))
        for expert, (noise, begin, end, leftover) in zip(self.experts, turns, strict=True):
            (latent,) = self.nodes.KSamplerAdvanced().sample(
                expert, noise, seed, 4, 1.0, "euler", "simple", self._prompt, self._prompt, latent,
                begin, end, leftover,
            )  # fmt: skip
        return latent["samples"]


def measured(comfy: Comfy, options: argparse.Namespace) -> dict[str, Any]:
    """Three clips, one after the other."""
    import torch

    (vae,) = comfy.nodes.VAELoader().load_vae(comfy.file("wan_2.1_vae*"))
    runs = []
    for number in range(3):
        begin = time.perf_counter()
        latents = comfy.sample(options.seed + number)
        torch.cuda.synchronize()
        middle = time.perf_counter()
        comfy.nodes.VAEDecode().decode(vae, {"samples": latents})
        torch.cuda.synchronize()
        end = time.perf_counter()
        runs.append({"sample_s": middle - begin, "decode_s": end - middle, "total_s": end - begin})
    peak_gib = torch.cuda.max_memory_allocated() / 2**30
    return {"load_s": comfy.load_seconds, "runs": runs, "peak_GiB": peak_gib}


if __name__ == "__main__":
    main()
