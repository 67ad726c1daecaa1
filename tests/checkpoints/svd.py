"""A tiny SVD checkpoint in the true layout: same classes, same files, same key names; random weights."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import (
    AutoencoderKLTemporalDecoder,
    EulerDiscreteScheduler,
    StableVideoDiffusionPipeline,
    UNetSpatioTemporalConditionModel,
)
from transformers import CLIPImageProcessorPil, CLIPVisionConfig, CLIPVisionModelWithProjection

SCHEDULER = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "interpolation_type": "linear",
    "num_train_timesteps": 1000,
    "prediction_type": "v_prediction",
    "sigma_max": 700.0,
    "sigma_min": 0.002,
    "steps_offset": 1,
    "timestep_spacing": "leading",
    "timestep_type": "continuous",
    "use_karras_sigmas": True,
}


def pipeline(seed: int = 0) -> StableVideoDiffusionPipeline:
    """All parts in float32, four levels deep as the real ones; every path counts, as after training."""
    torch.manual_seed(seed)
    made = StableVideoDiffusionPipeline(
        unet=UNetSpatioTemporalConditionModel(
            sample_size=8,
            block_out_channels=(32, 32, 64, 64),
            num_attention_heads=(2, 2, 4, 4),
            cross_attention_dim=32,
            addition_time_embed_dim=32,
            projection_class_embeddings_input_dim=96,
            layers_per_block=2,
            num_frames=14,
        ),
        vae=AutoencoderKLTemporalDecoder(
            block_out_channels=(32, 32, 64, 64),
            down_block_types=("DownEncoderBlock2D",) * 4,
            layers_per_block=2,
            sample_size=64,
            force_upcast=True,
        ),
        image_encoder=CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=32,
                intermediate_size=64,
                num_hidden_layers=2,
                num_attention_heads=4,
                image_size=224,
                patch_size=56,
                projection_dim=32,
                hidden_act="gelu",
            )
        ),
        scheduler=EulerDiscreteScheduler(**SCHEDULER),
        feature_extractor=CLIPImageProcessorPil(),
    )
    with torch.no_grad():
        for part in (made.unet, made.vae):
            for name, parameter in part.named_parameters():
                if name.endswith("mix_factor"):
                    parameter.normal_()
                elif parameter.ndim == 1:
                    parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return made


def write(folder: Path, seed: int = 0) -> Path:
    """Write it as published, a diffusers folder with ``fp16`` variant files; returns ``folder``."""
    pipeline(seed).to(dtype=torch.float16).save_pretrained(folder, variant="fp16")
    return folder
