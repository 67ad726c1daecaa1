"""Wan checkpoints in the published layouts, as small as wanted: FP8 experts with scales, LoRAs, UMT5 with its
tokenizer inside, both VAEs, and the component configs. Also writes models that were trained elsewhere.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sentencepiece
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import UMT5Config, UMT5EncoderModel

from bootstrap.choose.manifest import Limits
from bootstrap.choose.plan import Plan
from services.engines.wan import key_map, vae_key_map
from services.engines.weights import checkpoint

FP8 = torch.float8_e4m3fn
RANK, ALPHA = 16, 2  # the published LoRAs: 64 and 8, so a factor of 1/8

TRANSFORMER = {
    "_class_name": "WanTransformer3DModel",
    "added_kv_proj_dim": None,
    "attention_head_dim": 32,
    "cross_attn_norm": True,
    "eps": 1e-06,
    "ffn_dim": 192,
    "freq_dim": 64,
    "image_dim": None,
    "in_channels": 16,
    "num_attention_heads": 2,
    "num_layers": 4,
    "out_channels": 16,
    "patch_size": [1, 2, 2],
    "pos_embed_seq_len": None,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "text_dim": 32,
}
TEXT: dict[str, Any] = {
    "d_ff": 64,
    "d_kv": 8,
    "d_model": 32,
    "feed_forward_proj": "gated-gelu",
    "dense_act_fn": "gelu_new",
    "is_gated_act": True,
    "is_encoder_decoder": True,
    "layer_norm_epsilon": 1e-06,
    "num_heads": 4,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tie_word_embeddings": True,
    "model_type": "umt5",
    "pad_token_id": 0,
    "eos_token_id": 1,
    "dropout_rate": 0.1,
}
VAE_21 = {
    "_class_name": "AutoencoderKLWan",
    "attn_scales": [],
    "base_dim": 8,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": [round(-0.8 + 0.1 * n, 1) for n in range(16)],
    "latents_std": [round(1.2 + 0.1 * n, 1) for n in range(16)],
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}
VAE_22 = {
    **VAE_21,
    "base_dim": 8,
    "clip_output": False,
    "decoder_base_dim": 12,
    "in_channels": 12,
    "is_residual": True,
    "latents_mean": [round(-0.4 + 0.02 * n, 2) for n in range(48)],
    "latents_std": [round(0.6 + 0.02 * n, 2) for n in range(48)],
    "out_channels": 12,
    "patch_size": 2,
    "scale_factor_spatial": 16,
    "scale_factor_temporal": 4,
    "temperal_downsample": [False, True, True],
    "z_dim": 48,
}
CORPUS = [
    "a cat walks along the beach at sunset, waves roll in",
    "the camera follows a red kite over green hills, soft light",
    "a person drinks tea by the window while it rains outside",
    "ein Hund läuft durch den Schnee; 一只猫在海滩上行走",
]


@dataclass(frozen=True)
class Tiny:
    """Where everything was written."""

    folder: Path
    components: dict[str, Path]
    recipe: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

    def plan(self, *, settings: Mapping[str, Any] | None = None, **changes: Any) -> Plan:
        """A plan for these files on the CPU."""
        values: dict[str, Any] = {
            "kit_version": "0",
            "model": "demo-wan",
            "title": "tiny",
            "family": "wan",
            "inputs": ("text",),
            "device": "cpu",
            "profile": "cpu",
            "settings": {"experts": "resident", "text_encoder": "cpu", "vae_tiling": False, "matmul": "exact"}
            | dict(settings or {}),
            "components": self.components,
            "config": str(self.folder / "configs"),
            "defaults": self.defaults,
            "recipe": self.recipe,
            "limits": Limits(),
            "threads": 2,
            "data_dir": self.folder,
        }
        return Plan.model_validate(values | changes)


def make(folder: Path, kind: str = "t2v", *, seed: int = 0, fp8: bool = True, loras: bool = True) -> Tiny:
    """A whole model of random weights: "t2v", "i2v" (36 channels) or "5b" (48 channels, one expert)."""
    torch.manual_seed(seed)
    small = kind == "5b"
    channels = {"t2v": 16, "i2v": 36, "5b": 48}[kind]
    shape = TRANSFORMER | {"in_channels": channels, "out_channels": 48 if small else 16}
    codec = VAE_22 if small else VAE_21
    index = {"_class_name": "WanPipeline"} | (
        {"expand_timesteps": True} if small else {"boundary_ratio": 0.875}
    )
    write_configs(folder / "configs", transformer=shape, vae=codec, text_encoder=text_config(), index=index)

    files: dict[str, Path] = {}
    for role, tag in (
        (("transformer", "ti2v_5B"),) if small else (("high_noise", "high_noise"), ("low_noise", "low_noise"))
    ):
        files[role] = folder / f"wan2.2_{kind}_{tag}_{'fp8_scaled' if fp8 else 'fp16'}.safetensors"
        write_expert(files[role], transformer(shape), fp8=fp8)
        if loras and not small:
            lora = f"lora_{tag.partition('_')[0]}"
            files[lora] = folder / f"wan2.2_{kind}_lightx2v_4steps_lora_v1.1_{tag}.safetensors"
            write_lora(files[lora], random_lora(shape))
    files["text_encoder"] = folder / "umt5_xxl_fp8_e4m3fn_scaled.safetensors"
    write_text_encoder(files["text_encoder"], text_encoder(), vocabulary())
    files["vae"] = folder / ("wan2.2_vae.safetensors" if small else "wan_2.1_vae.safetensors")
    write_vae(files["vae"], vae(codec))
    recipe: dict[str, int | float] = {"text_length": 48}
    if not small:
        recipe |= {
            "steps_with_lora": 4,
            "boundary_step": 2,
            "boundary_ratio": 0.9 if kind == "i2v" else 0.875,
        }
    defaults = (
        {"lora": True, "lora_high_strength": 1.0, "lora_low_strength": 1.0} if "lora_high" in files else {}
    )
    return Tiny(folder, files, recipe, defaults)


def transformer(config: Mapping[str, Any]) -> WanTransformer3DModel:
    """Random, with linear layers as strong as a trained model's, so that every layer shows in the output."""
    model = WanTransformer3DModel.from_config(dict(config)).eval().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.normal_(0, module.in_features**-0.5)
            module.bias.normal_(0, 0.02)
    return model


def vae(config: Mapping[str, Any]) -> AutoencoderKLWan:
    known = {key: value for key, value in config.items() if key != "clip_output"}
    return AutoencoderKLWan.from_config(known).eval().requires_grad_(False)


def text_config() -> dict[str, Any]:
    return TEXT | {
        "vocab_size": sentencepiece.SentencePieceProcessor(model_proto=vocabulary()).vocab_size() + 4
    }


def text_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(**text_config())).eval().requires_grad_(False)


def vocabulary() -> bytes:
    """A SentencePiece model with UMT5's special tokens: pad 0, end 1, unknown 2, no start."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS),
        model_writer=out,
        vocab_size=96,
        model_type="unigram",
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        byte_fallback=False,
        minloglevel=2,
    )
    return out.getvalue()


def write_configs(folder: Path, *, index: Mapping[str, Any], **parts: Mapping[str, Any]) -> None:
    """``model_index.json`` and one ``config.json`` a part, as diffusers' repositories have them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model_index.json").write_text(json.dumps(index, indent=2))
    for part, config in parts.items():
        (folder / part).mkdir(exist_ok=True)
        (folder / part / "config.json").write_text(json.dumps(dict(config), indent=2))


def write_expert(
    path: Path, model: WanTransformer3DModel, *, fp8: bool = True, spelling: str = "scale_weight"
) -> None:
    """Original Wan names; every linear layer in FP8 with one scale and ``scale_input``, the rest F16."""
    state = {key_map.original(name): tensor for name, tensor in model.state_dict().items()}
    linears = {
        key_map.original(name) for name, module in model.named_modules() if isinstance(module, nn.Linear)
    }
    save_file(scaled(state, linears, spelling) if fp8 else halves(state), path)


def write_text_encoder(path: Path, model: UMT5EncoderModel, spiece: bytes) -> None:
    """HF's names; linear layers in FP8 with a scale, the rest F16; the tokenizer as ``spiece_model``."""
    state = {name: tensor for name, tensor in model.state_dict().items() if "embed_tokens" not in name}
    linears = {name for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    tensors = scaled(state, linears, "scale_weight", inputs=False)
    save_file(tensors | {"spiece_model": torch.frombuffer(bytearray(spiece), dtype=torch.uint8)}, path)


def write_vae(path: Path, model: AutoencoderKLWan) -> None:
    """Original names; BF16 for the 2.1 VAE, F16 for 2.2."""
    nested = bool(model.config.is_residual)
    about = {"resnets": model.config.num_res_blocks, "nested": nested}
    dtype = torch.float16 if nested else torch.bfloat16
    save_file(
        {
            vae_key_map.original(name, **about): tensor.to(dtype).contiguous()
            for name, tensor in model.state_dict().items()
        },
        path,
    )


def random_lora(config: Mapping[str, Any], *, strength: float = 0.1) -> dict[str, tuple[Tensor, Tensor]]:
    """(down, up) for each linear layer of the blocks; the change is about ``strength`` of the weight."""
    with torch.device("meta"):
        model = WanTransformer3DModel.from_config(dict(config))
    pairs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("blocks."):
            down = torch.randn(RANK, module.in_features) * RANK**-0.5
            up = torch.randn(module.out_features, RANK) * strength * module.in_features**-0.5 * RANK / ALPHA
            pairs[name] = (down, up)
    return pairs


def write_lora(path: Path, pairs: Mapping[str, tuple[Tensor, Tensor]], *, alpha: int = ALPHA) -> None:
    """``diffusion_model.<original name>.{lora_down.weight, lora_up.weight, alpha}``: F32, F32, I64."""
    tensors = {}
    for name, (down, up) in pairs.items():
        key = f"diffusion_model.{key_map.original(name)}"
        tensors[f"{key}.lora_down.weight"] = down.float().contiguous()
        tensors[f"{key}.lora_up.weight"] = up.float().contiguous()
        tensors[f"{key}.alpha"] = torch.tensor(alpha)
    save_file(tensors, path)


def halves(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.half().contiguous() for name, tensor in state.items()}


def scaled(
    state: Mapping[str, Tensor], linears: set[str], spelling: str, *, inputs: bool = True
) -> dict[str, Tensor]:
    """One float32 scale a tensor: its largest value becomes the largest code; ``spelling`` names it."""
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        layer = name.removesuffix(".weight")
        if name.endswith(".weight") and layer in linears:
            scale = tensor.float().abs().max() / 448
            out[name] = (tensor.float() / scale).to(FP8).contiguous()
            out[f"{layer}.{spelling}"] = scale
            if inputs:
                out[f"{layer}.{'scale_input' if spelling == 'scale_weight' else 'input_scale'}"] = (
                    torch.tensor(1.0)
                )
            if spelling == "weight_scale":
                about = json.dumps({"format": "float8_e4m3fn"}).encode()
                out[f"{layer}.comfy_quant"] = torch.frombuffer(bytearray(about), dtype=torch.uint8)
        else:
            out[name] = tensor.half().contiguous()
    if spelling == "scale_weight":
        out["scaled_fp8"] = torch.zeros(0, dtype=FP8)
    return out


def dequantised(path: Path) -> dict[str, Tensor]:
    """What the file means, float32, under its own names: weight times scale."""
    from safetensors.torch import load_file

    raw = load_file(path)
    out = {}
    for name, tensor in raw.items():
        layer = name.removesuffix(".weight")
        scale = next((raw[f"{layer}.{s}"] for s in checkpoint.SCALES if f"{layer}.{s}" in raw), None)
        if name.rpartition(".")[2] not in (*checkpoint.SIDECARS, checkpoint.MARKER, "spiece_model"):
            out[name] = tensor.float()
            if scale is not None and name.endswith(".weight"):
                out[name] = out[name] * scale.float().reshape(-1, *[1] * (tensor.ndim - 1))
    return out
