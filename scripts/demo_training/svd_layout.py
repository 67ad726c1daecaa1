"""The `demo` model: SVD's classes and folder layout, made small."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

# Eight latent channels: six hold the picture, the last two hold the camera's course (see camera.py).
PICTURE_CHANNELS = 6
COURSE_CHANNELS = 2
LATENT_CHANNELS = PICTURE_CHANNELS + COURSE_CHANNELS
SHRINK = 4  # pixels per latent cell along each side

VAE_CONFIG: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    # 64 is the least that keeps absolute brightness through a GroupNorm of 32 groups.
    "block_out_channels": [64, 64, 64],
    "layers_per_block": 1,
    "latent_channels": LATENT_CHANNELS,
    "sample_size": 224,
    "scaling_factor": 1.0,
    "force_upcast": True,
}
UNET_CONFIG: dict[str, Any] = {
    "sample_size": 56,
    "in_channels": 2 * LATENT_CHANNELS,
    "out_channels": LATENT_CHANNELS,
    "down_block_types": [
        "DownBlockSpatioTemporal", "CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal",
    ],
    "up_block_types": [
        "UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal", "UpBlockSpatioTemporal",
    ],
    "block_out_channels": [64, 96, 96],
    "addition_time_embed_dim": 32,
    "projection_class_embeddings_input_dim": 96,
    "layers_per_block": 1,
    "cross_attention_dim": 32,
    "transformer_layers_per_block": 1,
    "num_attention_heads": [4, 4, 4],
    "num_frames": 14,
}  # fmt: skip
CLIP_CONFIG: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 224,
    "patch_size": 32,
    "projection_dim": 32,
    "hidden_act": "gelu",
}
SCHEDULER_CONFIG: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.42.1",
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    # The last step starts here: the camera's course and the picture leave nothing to be decided below.
    "sigma_min": 10.0,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "trained_betas": None,
    "use_karras_sigmas": True,
}
PREPROCESSOR_CONFIG: dict[str, Any] = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "feature_extractor_type": "CLIPFeatureExtractor",
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_processor_type": "CLIPImageProcessor",
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "rescale_factor": 1 / 255,
    "size": {"shortest_edge": 224},
}
MODEL_INDEX: dict[str, Any] = {
    "_class_name": "StableVideoDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
    "image_encoder": ["transformers", "CLIPVisionModelWithProjection"],
    "scheduler": ["diffusers", "EulerDiscreteScheduler"],
    "unet": ["diffusers", "UNetSpatioTemporalConditionModel"],
    "vae": ["diffusers", "AutoencoderKLTemporalDecoder"],
}


@dataclass
class Networks:
    """The three networks of the pipeline."""

    vae: AutoencoderKLTemporalDecoder
    unet: UNetSpatioTemporalConditionModel
    image_encoder: CLIPVisionModelWithProjection


def networks() -> Networks:
    """Untrained networks; seed torch first."""
    return Networks(
        AutoencoderKLTemporalDecoder(**VAE_CONFIG),
        UNetSpatioTemporalConditionModel(**UNET_CONFIG),
        CLIPVisionModelWithProjection(CLIPVisionConfig(**CLIP_CONFIG)),
    )


def write(parts: Networks, folder: Path) -> None:
    """Write the folder as the hub has it: JSON configs and one fp16 file for each network."""
    _json(folder / "model_index.json", MODEL_INDEX)
    _json(folder / "scheduler" / "scheduler_config.json", SCHEDULER_CONFIG)
    _json(folder / "feature_extractor" / "preprocessor_config.json", PREPROCESSOR_CONFIG)
    _json(folder / "image_encoder" / "config.json", {
        "architectures": ["CLIPVisionModelWithProjection"], "model_type": "clip_vision_model", **CLIP_CONFIG,
    })  # fmt: skip
    for name, network in (("unet", parts.unet), ("vae", parts.vae)):
        config = {"_class_name": type(network).__name__, "_diffusers_version": "0.42.1", **_own(network)}
        _json(folder / name / "config.json", config)
        _half(network, folder / name / "diffusion_pytorch_model.fp16.safetensors")
    _half(parts.image_encoder, folder / "image_encoder" / "model.fp16.safetensors")


def _own(network: Any) -> dict[str, Any]:
    return {key: value for key, value in network.config.items() if not key.startswith("_")}


def _half(network: torch.nn.Module, path: Path) -> None:
    tensors = {key: value.detach().cpu().half().contiguous() for key, value in network.state_dict().items()}
    safetensors.torch.save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)


def _json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n")


def read(folder: Path) -> Networks:
    """The networks of such a folder, in float32."""
    kinds = {"dtype": torch.float32, "variant": "fp16"}
    return Networks(
        AutoencoderKLTemporalDecoder.from_pretrained(folder / "vae", **kinds),
        UNetSpatioTemporalConditionModel.from_pretrained(folder / "unet", **kinds),
        CLIPVisionModelWithProjection.from_pretrained(
            folder / "image_encoder", dtype=torch.float32, variant="fp16"
        ),
    )
