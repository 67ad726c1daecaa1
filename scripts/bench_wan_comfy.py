# ruff: noqa: E501, I001 - ComfyUI's modules must come after its folder is on the path
"""ComfyUI's own loader and sampler on the files that bench_wan.py made: its time, or its latents.

`bench_wan_comfy.py COMFY_FOLDER FILES WIDTH HEIGHT FRAMES SHIFT SEED [--latents OUT.pt --text TEXT.pt]`
Run by bench_wan.py with ComfyUI's folder as the working directory; nothing of ComfyUI is part of this project.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("comfy", type=Path)
    parser.add_argument("files", type=Path)
    for name in ("width", "height", "frames"):
        parser.add_argument(name, type=int)
    parser.add_argument("shift", type=float)
    parser.add_argument("seed", type=int)
    parser.add_argument("--latents", type=Path)
    parser.add_argument("--text", type=Path)
    options = parser.parse_args()
    sys.argv = ["main.py"]
    sys.path.insert(0, str(options.comfy))

    import torch

    import folder_paths  # type: ignore[import-not-found]  # ComfyUI's, from here on

    for kind in ("diffusion_models", "loras", "vae"):
        folder_paths.add_model_folder_path(kind, str(options.files), True)
    import nodes  # type: ignore[import-not-found]
    from comfy_extras.nodes_model_advanced import ModelSamplingSD3  # type: ignore[import-not-found]

    def file(pattern: str) -> str:
        return next(options.files.glob(pattern)).name

    with torch.inference_mode():
        started = time.perf_counter()
        experts = []
        for tag in ("high", "low"):
            (model,) = nodes.UNETLoader().load_unet(file(f"*{tag}_noise*fp8_scaled.safetensors"), "default")
            lora = file(f"*lora*{tag}_noise.safetensors")
            (model,) = nodes.LoraLoaderModelOnly().load_lora_model_only(model, lora, 1.0)
            experts.append(ModelSamplingSD3().patch(model, options.shift)[0])
        found: dict[str, object] = {"load_s": time.perf_counter() - started, "runs": []}
        text = torch.load(options.text) if options.text else torch.randn(1, 512, 4096)
        prompt = [[text, {}]]
        shape = (1, 16, (options.frames - 1) // 4 + 1, options.height // 8, options.width // 8)

        def sample(seed: int) -> torch.Tensor:
            latent = {"samples": torch.zeros(shape)}
            first, second = (nodes.KSamplerAdvanced() for _ in range(2))
            (latent,) = first.sample(
                experts[0], "enable", seed, 4, 1.0, "euler", "simple", prompt, prompt, latent, 0, 2, "enable"
            )
            (latent,) = second.sample(
                experts[1],
                "disable",
                seed,
                4,
                1.0,
                "euler",
                "simple",
                prompt,
                prompt,
                latent,
                2,
                4,
                "disable",
            )
            return latent["samples"]

        if options.latents:
            torch.save(sample(options.seed).cpu(), options.latents)
            return
        (vae,) = nodes.VAELoader().load_vae(file("wan_2.1_vae*"))
        for number in range(3):
            begin = time.perf_counter()
            latents = sample(options.seed + number)
            torch.cuda.synchronize()
            middle = time.perf_counter()
            nodes.VAEDecode().decode(vae, {"samples": latents})
            torch.cuda.synchronize()
            end = time.perf_counter()
            found["runs"].append(
                {"sample_s": middle - begin, "decode_s": end - middle, "total_s": end - begin}
            )  # type: ignore[attr-defined]
        found["peak_GiB"] = torch.cuda.max_memory_allocated() / 2**30
    print("COMFY " + json.dumps(found))


if __name__ == "__main__":
    main()
