"""Writes `demo` and `demo-wan` with random weights and a fixed seed, and their sums into the manifests.

For working on the layouts. The trained files come from train_demo.py and train_demo_wan.py.

    python scripts/make_demo.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from demo_training import manifest_sums, svd_layout, wan_layout

MANIFESTS = Path(__file__).resolve().parent.parent / "model-manifests"
SEED = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=MANIFESTS, help="where demo/ and demo-wan/ are written")
    out: Path = parser.parse_args().out
    torch.manual_seed(SEED)
    svd_layout.write(svd_layout.networks(), out / "demo")
    make_wan(out / "demo-wan")
    for name in ("demo", "demo-wan"):
        if (out / f"{name}.yaml").is_file():
            manifest_sums.update(out / f"{name}.yaml", out / name)


def make_wan(folder: Path) -> None:
    text = wan_layout.text_encoder()
    wan_layout.write_text_encoder(text.state_dict(), wan_layout.tokenizer_model(), folder / wan_layout.TEXT)
    wan_layout.write_vae(wan_layout.vae().state_dict(), folder / wan_layout.VAE)
    for expert, lora in ((wan_layout.HIGH, wan_layout.LORA_HIGH), (wan_layout.LOW, wan_layout.LORA_LOW)):
        model = wan_layout.transformer()
        wan_layout.write_expert(model.state_dict(), folder / expert)
        wan_layout.write_lora(random_lora(model), folder / lora)
    wan_layout.write_configs(folder, wan_layout.VAE_CONFIG)


def random_lora(model: torch.nn.Module) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    return {
        name: (
            torch.randn(wan_layout.LORA_RANK, layer.in_features) * 0.02,
            torch.randn(layer.out_features, wan_layout.LORA_RANK) * 0.02,
        )
        for name, layer in wan_layout.lora_layers(model).items()
    }


if __name__ == "__main__":
    main()
