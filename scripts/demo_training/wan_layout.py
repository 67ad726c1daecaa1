"""The `demo-wan` model: Wan 2.2's classes in ComfyUI's fp8_scaled layout, made small."""

from __future__ import annotations

import io
import itertools
import json
from pathlib import Path
from typing import Any

import safetensors.torch
import sentencepiece
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

HIGH = "diffusion_models/wan2.2_t2v_high_noise_demo_fp8_scaled.safetensors"
LOW = "diffusion_models/wan2.2_t2v_low_noise_demo_fp8_scaled.safetensors"
TEXT = "text_encoders/umt5_demo_fp8_e4m3fn_scaled.safetensors"
VAE = "vae/wan_2.1_vae.safetensors"
LORA_HIGH = "loras/wan2.2_t2v_lightx2v_4steps_lora_demo_high_noise.safetensors"
LORA_LOW = "loras/wan2.2_t2v_lightx2v_4steps_lora_demo_low_noise.safetensors"
LORA_RANK = 16
LORA_ALPHA = 8

COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "orange", "white")
SHAPES = ("circle", "square", "triangle")
MOTIONS = ("right", "left", "up", "down")
VOCABULARY = 384  # 256 of them are single bytes, so that any text has tokens

TRANSFORMER_CONFIG: dict[str, Any] = {
    "added_kv_proj_dim": None,
    "attention_head_dim": 32,
    "cross_attn_norm": True,
    "eps": 1e-06,
    "ffn_dim": 512,
    "freq_dim": 64,
    "image_dim": None,
    "in_channels": 16,
    "num_attention_heads": 4,
    "num_layers": 4,
    "out_channels": 16,
    "patch_size": [1, 2, 2],
    "pos_embed_seq_len": None,
    "qk_norm": "rms_norm_across_heads",
    "rope_max_seq_len": 1024,
    "text_dim": 64,
}
VAE_CONFIG: dict[str, Any] = {
    "attn_scales": [],
    "base_dim": 8,
    "dim_mult": [1, 2, 4, 4],
    "dropout": 0.0,
    "latents_mean": [0.0] * 16,
    "latents_std": [1.0] * 16,
    "num_res_blocks": 2,
    "temperal_downsample": [False, True, True],
    "z_dim": 16,
}
TEXT_CONFIG: dict[str, Any] = {
    "architectures": ["UMT5EncoderModel"],
    "d_ff": 128,
    "d_kv": 16,
    "d_model": 64,
    "decoder_start_token_id": 0,
    "dense_act_fn": "gelu_new",
    "dropout_rate": 0.0,
    "eos_token_id": 1,
    "feed_forward_proj": "gated-gelu",
    "initializer_factor": 1.0,
    "is_encoder_decoder": True,
    "is_gated_act": True,
    "layer_norm_epsilon": 1e-06,
    "model_type": "umt5",
    "num_decoder_layers": 2,
    "num_heads": 4,
    "num_layers": 2,
    "pad_token_id": 0,
    "relative_attention_max_distance": 128,
    "relative_attention_num_buckets": 32,
    "tokenizer_class": "T5Tokenizer",
    "vocab_size": VOCABULARY,
}
SCHEDULER_CONFIG: dict[str, Any] = {
    "_class_name": "UniPCMultistepScheduler",
    "_diffusers_version": "0.42.1",
    "flow_shift": 3.0,
    "num_train_timesteps": 1000,
    "prediction_type": "flow_prediction",
    "use_flow_sigmas": True,
}
MODEL_INDEX: dict[str, Any] = {
    "_class_name": "WanPipeline",
    "_diffusers_version": "0.42.1",
    "boundary_ratio": 0.875,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": ["diffusers", "WanTransformer3DModel"],
    "vae": ["diffusers", "AutoencoderKLWan"],
}

# diffusers' names back to Wan's own; order matters because some are parts of others.
TRANSFORMER_NAMES = (
    ("condition_embedder.time_embedder.linear_1", "time_embedding.0"),
    ("condition_embedder.time_embedder.linear_2", "time_embedding.2"),
    ("condition_embedder.text_embedder.linear_1", "text_embedding.0"),
    ("condition_embedder.text_embedder.linear_2", "text_embedding.2"),
    ("condition_embedder.time_proj", "time_projection.1"),
    ("attn1", "self_attn"),
    ("attn2", "cross_attn"),
    (".to_out.0.", ".o."),
    (".to_q.", ".q."),
    (".to_k.", ".k."),
    (".to_v.", ".v."),
    ("ffn.net.0.proj", "ffn.0"),
    ("ffn.net.2", "ffn.2"),
    ("norm2", "norm3"),
    ("proj_out", "head.head"),
)
VAE_NAMES = (
    ("norm1.gamma", "residual.0.gamma"),
    ("conv1.", "residual.2."),
    ("norm2.gamma", "residual.3.gamma"),
    ("conv2.", "residual.6."),
    ("conv_shortcut", "shortcut"),
)


def prompts() -> list[str]:
    """Every prompt of the vocabulary, e.g. "a red circle moving right"."""
    return [
        f"a {colour} {shape} moving {motion}"
        for colour, shape, motion in itertools.product(COLOURS, SHAPES, MOTIONS)
    ]


def tokenizer_model() -> bytes:
    """A sentencepiece model of the prompts, with UMT5's special tokens: pad 0, end 1, unknown 2."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(prompts() * 4), model_writer=out, vocab_size=VOCABULARY,
        hard_vocab_limit=False, model_type="unigram", byte_fallback=True,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", num_threads=1, minloglevel=2,
    )  # fmt: skip
    return out.getvalue()


def transformer() -> WanTransformer3DModel:
    """One untrained expert."""
    return WanTransformer3DModel(**TRANSFORMER_CONFIG)


def vae() -> AutoencoderKLWan:
    return AutoencoderKLWan(**VAE_CONFIG)


def text_encoder() -> UMT5EncoderModel:
    return UMT5EncoderModel(UMT5Config(**TEXT_CONFIG))


def write_configs(folder: Path, vae_config: dict[str, Any]) -> None:
    """The component configs of the diffusers repository, below `config/`."""
    expert = {"_class_name": "WanTransformer3DModel", "_diffusers_version": "0.42.1", **TRANSFORMER_CONFIG}
    latent = {"_class_name": "AutoencoderKLWan", "_diffusers_version": "0.42.1", **vae_config}
    for name, value in (
        ("model_index.json", MODEL_INDEX),
        ("scheduler/scheduler_config.json", SCHEDULER_CONFIG),
        ("text_encoder/config.json", TEXT_CONFIG),
        ("transformer/config.json", expert),
        ("transformer_2/config.json", expert),
        ("vae/config.json", latent),
    ):
        path = folder / "config" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def write_expert(state: dict[str, torch.Tensor], path: Path) -> None:
    """An expert, given with diffusers' names, as ComfyUI's fp8_scaled file."""
    tensors: dict[str, torch.Tensor] = {"scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn)}
    for name, value in state.items():
        key = _wan_name(name)
        if key.endswith(".weight") and value.ndim == 2:
            tensors[key], tensors[key[:-7] + ".scale_weight"] = quantise(value)
            tensors[key[:-7] + ".scale_input"] = torch.ones(())
        else:
            tensors[key] = value.detach().half().contiguous()
    _save(tensors, path)


def write_text_encoder(state: dict[str, torch.Tensor], tokenizer: bytes, path: Path) -> None:
    """UMT5 with fp8 linear layers, and its tokenizer as a tensor of bytes."""
    tensors = {
        "scaled_fp8": torch.zeros(0, dtype=torch.float8_e4m3fn),
        "spiece_model": torch.frombuffer(bytearray(tokenizer), dtype=torch.uint8),
    }
    for key, value in state.items():
        if key == "encoder.embed_tokens.weight":
            continue  # the same tensor as shared.weight
        if ".relative_attention_bias." not in key and key != "shared.weight" and value.ndim == 2:
            tensors[key], tensors[key[:-7] + ".scale_weight"] = quantise(value)
        else:
            tensors[key] = value.detach().half().contiguous()
    _save(tensors, path)


def read_expert(path: Path) -> dict[str, torch.Tensor]:
    """What `write_expert` wrote, in float32 and with diffusers' names."""
    stored = safetensors.torch.load_file(path)
    return {name: _plain(stored, _wan_name(name)) for name in transformer().state_dict()}


def read_text_encoder(path: Path) -> tuple[dict[str, torch.Tensor], bytes]:
    """What `write_text_encoder` wrote: the weights in float32, and the tokenizer."""
    stored = safetensors.torch.load_file(path)
    table = {"encoder.embed_tokens.weight": "shared.weight"}
    state = {name: _plain(stored, table.get(name, name)) for name in text_encoder().state_dict()}
    return state, stored["spiece_model"].numpy().tobytes()


def read_vae(path: Path) -> dict[str, torch.Tensor]:
    """What `write_vae` wrote, in float32 and with diffusers' names."""
    stored = safetensors.torch.load_file(path)
    return {name: stored[_vae_name(name)].float() for name in vae().state_dict()}


def write_vae(state: dict[str, torch.Tensor], path: Path) -> None:
    """The VAE with Wan's own names, in bfloat16."""
    _save({_vae_name(name): value.detach().bfloat16().contiguous() for name, value in state.items()}, path)


def write_lora(pairs: dict[str, tuple[torch.Tensor, torch.Tensor]], path: Path) -> None:
    """LoRA factors (down [rank, in], up [out, rank]) by diffusers' layer names, as LightX2V lays them out.

    The file holds what gives `up @ down` once a reader has applied alpha / rank.
    """
    tensors: dict[str, torch.Tensor] = {}
    for layer, (down, up) in pairs.items():
        key = "diffusion_model." + _wan_name(layer + ".")[:-1]
        tensors[key + ".lora_down.weight"] = down.detach().float().contiguous()
        tensors[key + ".lora_up.weight"] = (up.detach().float() * (down.shape[0] / LORA_ALPHA)).contiguous()
        tensors[key + ".alpha"] = torch.tensor(LORA_ALPHA)
    _save(tensors, path)


def lora_layers(model: WanTransformer3DModel) -> dict[str, torch.nn.Linear]:
    """The layers that LightX2V's files change: attention and feed-forward of every block."""
    return {
        name: layer
        for name, layer in model.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.startswith("blocks.")
    }


def quantise(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """fp8 codes and the scale that gives the weight back: `codes.float() * scale`."""
    scale = weight.detach().float().abs().max().clamp(min=1e-8) / 448.0
    return (weight.detach().float() / scale).to(torch.float8_e4m3fn), scale


def _plain(stored: dict[str, torch.Tensor], key: str) -> torch.Tensor:
    scale = stored.get(key.removesuffix(".weight") + ".scale_weight", torch.ones(()))
    return stored[key].float() * scale


def _wan_name(name: str) -> str:
    if "scale_shift_table" in name:
        return name.replace(
            "scale_shift_table", "modulation" if name.startswith("blocks.") else "head.modulation"
        )
    for ours, theirs in TRANSFORMER_NAMES:
        name = name.replace(ours, theirs)
    return name


def _vae_name(name: str) -> str:
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name.replace("post_quant_conv", "conv2").replace("quant_conv", "conv1")
    part, _, rest = name.partition(".")
    if rest.startswith("conv_in."):
        return f"{part}.conv1.{rest[8:]}"
    if rest.startswith("norm_out."):
        return f"{part}.head.0.{rest[9:]}"
    if rest.startswith("conv_out."):
        return f"{part}.head.2.{rest[9:]}"
    if rest.startswith("mid_block.attentions.0."):
        return f"{part}.middle.1.{rest[23:]}"
    if rest.startswith("mid_block.resnets."):
        number, _, layer = rest[18:].partition(".")
        return f"{part}.middle.{2 * int(number)}.{_residual(layer)}"
    if part == "encoder":
        number, _, layer = rest.removeprefix("down_blocks.").partition(".")
        return f"encoder.downsamples.{number}.{_residual(layer)}"
    block, kind, number, layer = rest.removeprefix("up_blocks.").split(".", 3)
    place = 4 * int(block) + (3 if kind == "upsamplers" else int(number))
    return f"decoder.upsamples.{place}.{_residual(layer)}"


def _residual(layer: str) -> str:
    if layer.startswith(("resample", "time_conv")):
        return layer
    for ours, theirs in VAE_NAMES:
        layer = layer.replace(ours, theirs)
    return layer


def _save(tensors: dict[str, torch.Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({key: value.cpu() for key, value in tensors.items()}, path)
    path.chmod(0o644)
