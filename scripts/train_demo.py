"""Trains the `demo` model and writes its fp16 files and their sums.

    python scripts/train_demo.py                                   # on a GPU, about 9 minutes
    python scripts/train_demo.py --device cpu --steps 3 --tiny     # a dry run
    python scripts/train_demo.py --resume model-manifests/demo --vae-seconds 0 --motion-seconds 120

What it learns from and what it promises: docs/demo.md.
"""

from __future__ import annotations

import argparse
import tarfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from demo_training import flat_convolution, manifest_sums, motion, picture_code, pictures, svd_layout
from demo_training.pace import Pace

MANIFEST = Path(__file__).resolve().parent.parent / "model-manifests" / "demo.yaml"
SHAPES = [(14, 128, 224), (14, 224, 128), (14, 176, 176), (25, 128, 224), (25, 224, 128), (25, 176, 176)]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=MANIFEST.parent / "demo")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--vae-seconds", type=float, default=150)
    parser.add_argument("--motion-seconds", type=float, default=330)
    parser.add_argument("--steps", type=int, help="so many steps of each part instead of seconds")
    parser.add_argument("--vae-peak", type=float, default=1.5e-3, help="highest learning rate of the VAE")
    parser.add_argument("--clips", type=int, default=32, help="clips of 14 frames in one step")
    parser.add_argument("--peak", type=float, default=1e-3, help="highest learning rate of the UNet")
    parser.add_argument("--resume", type=Path, help="start from the weights in this folder")
    parser.add_argument("--tiny", action="store_true", help="small pictures and batches, for a dry run")
    parser.add_argument("--tar", type=Path, help="also pack the folder and the log into this file")
    train(parser.parse_args())


def train(options: argparse.Namespace) -> None:
    device = torch.device(options.device)
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.allow_tf32 = True
    options.out.mkdir(parents=True, exist_ok=True)
    log = options.out.parent / f"{options.out.name}-training.jsonl"
    album = pictures.Album(device, options.seed)
    parts = svd_layout.read(options.resume) if options.resume else svd_layout.networks()
    parts = svd_layout.Networks(*(part.to(device) for part in (parts.vae, parts.unet, parts.image_encoder)))
    flat_convolution.use(parts.vae)
    flat_convolution.use(parts.unet)
    autocast: AbstractContextManager[None] = (
        torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()
    )
    if options.vae_seconds > 0:
        pace = Pace(options.vae_seconds, options.steps, "vae", log)
        picture_code.train(
            parts.vae, album, pace, autocast, 40_000 if options.tiny else 800_000, options.vae_peak
        )
        parts.vae.register_to_config(scaling_factor=picture_code.scaling_factor(parts.vae, album))
    parts.vae.eval().requires_grad_(False)
    _check_pictures(parts, device)
    _keep(parts, options, log)  # so that a run that is cut short leaves the VAE
    shapes = [(4, 64, 64), (6, 32, 64)] if options.tiny else SHAPES
    shelf = 8 if options.tiny else 160
    if options.motion_seconds > 0:
        library = motion.Library(parts, album, shapes, shelf, autocast)
        pace = Pace(options.motion_seconds, options.steps, "motion", log)
        clips, renewed = (2, 1) if options.tiny else (options.clips, 32)
        parts = motion.train(parts, library, pace, autocast, clips, renewed, options.peak)
    _keep(parts, options, log)


def _keep(parts: svd_layout.Networks, options: argparse.Namespace, log: Path) -> None:
    svd_layout.write(parts, options.out)
    if options.out.resolve() == (MANIFEST.parent / "demo").resolve():
        manifest_sums.update(MANIFEST, options.out)
    if options.tar:
        with tarfile.open(options.tar, "w") as tar:
            tar.add(options.out, "demo")
            tar.add(log, log.name)


def _check_pictures(parts: svd_layout.Networks, device: torch.device) -> None:
    """How well the VAE keeps the held-out photos."""
    for name, photo in pictures.held_out(128, 224).items():
        with torch.no_grad():
            latent = parts.vae.encode(photo[None].to(device)).latent_dist.mode()
            made = parts.vae.decode(latent.repeat(7, 1, 1, 1), num_frames=7).sample[3].cpu().clamp(-1, 1)
        error = (made - photo).square().mean() / 4
        print(f"vae {name}: {float(-10 * error.log10()):.1f} dB", flush=True)


if __name__ == "__main__":
    main()
