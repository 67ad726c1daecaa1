# ruff: noqa: E501 - tables of settings read best on one line; big files go to the temporary folder
"""The error against plain diffusers in float32, on small files of the true layout."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch

from services.parameters.values import Values

from . import device
from .files import CONFIGS
from .record import distance, never, put, quiet

PROMPT = "a cat walks along the beach at sunset"


def accuracy(options: argparse.Namespace) -> None:
    """Latents after 4 steps against plain diffusers in float32, on small files of the true layout; ComfyUI's too."""
    import subprocess
    import tempfile

    from services.engines.base import Start
    from services.engines.wan import loading
    from tests.checkpoints import wan as tiny
    from tests.services.engines import test_wan as reference

    shape = {
        "attention_head_dim": 128,
        "num_attention_heads": 4,
        "ffn_dim": 1408,
        "text_dim": 4096,
        "freq_dim": 256,
    }
    tiny.TRANSFORMER.update(shape)
    tiny.TEXT.update({"d_model": 4096, "d_kv": 64, "num_heads": 8, "d_ff": 512})
    folder = Path(tempfile.mkdtemp())
    made_files = tiny.make(folder)
    size = {
        "width": options.width or 480, "height": options.height or 320, "num_frames": options.frames or 49,
    }  # fmt: skip
    torch.backends.cuda.matmul.allow_tf32 = False
    for shift in (5.0, 8.0):
        for lora in (True, False):
            values = {
                **size,
                "shift": shift,
                "lora": lora,
                "seed": 11,
                "num_inference_steps": 4,
                "guidance_scale": 1.0,
                "prompt": PROMPT,
            }
            wanted: torch.Tensor | None = None
            for name, settings in (("exact", {"matmul": "exact"}), ("fast", {"matmul": "fp8"})):
                made = loading.load(
                    made_files.plan(device=device.NAME, settings={**settings, "text_encoder": "resident"}),
                    Start(quiet),
                )
                text, noise = made.text.encode(PROMPT), made.noise(Values.of(values))
                if wanted is None:
                    with torch.device(device.NAME):
                        wanted = reference.reference(
                            made_files, text.to(device.NAME), noise.to(device.NAME), shift=shift, lora=lora
                        )
                got = made.sample(Values.of(values), None, quiet, never, noise=noise)
                put(
                    f"accuracy_shift_{shift}_lora_{lora}_{name}_percent",
                    round(100 * distance(got, wanted.to(got.device)), 3),
                )
            assert wanted is not None
            if lora and options.comfy:
                torch.save(text, folder / "text.pt")
                order = [
                    sys.executable,
                    str(Path(__file__).parents[1] / "bench_wan_comfy.py"),
                    options.comfy,
                    str(folder),
                ]
                order += [str(size["width"]), str(size["height"]), str(size["num_frames"]), str(shift), "11"]
                ran = subprocess.run(
                    [*order, "--latents", str(folder / "comfy.pt"), "--text", str(folder / "text.pt")],
                    capture_output=True,
                    text=True,
                )
                if ran.returncode:
                    put("comfy_failed", ran.stderr[-1500:])
                    continue
                raw = torch.load(folder / "comfy.pt").to(wanted.device).float()
                # ComfyUI hands latents on in the VAE's own scale, by the published mean and deviation.
                codec = json.loads((CONFIGS / "wan2.2_t2v_a14b" / "vae" / "config.json").read_text())
                mean, std = (
                    torch.tensor(codec[f"latents_{k}"], device=raw.device).view(1, -1, 1, 1, 1)
                    for k in ("mean", "std")
                )
                put(
                    f"accuracy_shift_{shift}_lora_{lora}_comfy_percent",
                    round(100 * distance((raw - mean) / std, wanted), 3),
                )
