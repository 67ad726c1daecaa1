"""SVD's own module definitions: the published files' tensors, and the numbers of the reference classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, EulerDiscreteScheduler, UNetSpatioTemporalConditionModel
from diffusers.models.embeddings import get_timestep_embedding
from diffusers.pipelines.stable_video_diffusion.pipeline_stable_video_diffusion import (
    _resize_with_antialiasing,
)
from torch import nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from bootstrap.errors import KitError
from services.engines.svd import image_resize
from services.engines.svd.modules import image_encoder, time_embedding, unet, vae
from services.engines.svd.schedule import Schedule
from tests.checkpoints import svd as checkpoint

# As published for SVD-XT; only the number of frames differs in the others.
UNET = {
    "in_channels": 8,
    "out_channels": 4,
    "block_out_channels": [320, 640, 1280, 1280],
    "num_attention_heads": [5, 10, 20, 20],
    "cross_attention_dim": 1024,
    "addition_time_embed_dim": 256,
    "projection_class_embeddings_input_dim": 768,
    "layers_per_block": 2,
    "transformer_layers_per_block": 1,
    "num_frames": 25,
    "sample_size": 96,
    "down_block_types": ["CrossAttnDownBlockSpatioTemporal"] * 3 + ["DownBlockSpatioTemporal"],
    "up_block_types": ["UpBlockSpatioTemporal"] + ["CrossAttnUpBlockSpatioTemporal"] * 3,
}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 4,
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "layers_per_block": 2,
    "force_upcast": True,
    "sample_size": 768,
    "scaling_factor": 0.18215,
}
CLIP = {
    "hidden_size": 1280,
    "intermediate_size": 5120,
    "num_hidden_layers": 32,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 1024,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-05,
}
# Another depth, width and number of layers everywhere.
OTHER_UNET = UNET | {
    "block_out_channels": [64, 128, 128],
    "num_attention_heads": 2,
    "cross_attention_dim": [32, 32, 64],
    "layers_per_block": [1, 2, 3],
    "transformer_layers_per_block": [1, 2, 1],
    "down_block_types": ["DownBlockSpatioTemporal"] + ["CrossAttnDownBlockSpatioTemporal"] * 2,
    "up_block_types": ["CrossAttnUpBlockSpatioTemporal"] * 2 + ["UpBlockSpatioTemporal"],
}
Config = dict[str, Any]


def reference_clip(config: Config) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig.from_dict(config))


def filled(model: nn.Module, like: nn.Module) -> nn.Module:
    model.load_state_dict(like.state_dict())
    return model


@pytest.mark.parametrize(
    ("ours", "theirs", "config"),
    [
        (unet.UNetSpatioTemporalConditionModel, UNetSpatioTemporalConditionModel.from_config, UNET),
        (unet.UNetSpatioTemporalConditionModel, UNetSpatioTemporalConditionModel.from_config, OTHER_UNET),
        (vae.AutoencoderKLTemporalDecoder, AutoencoderKLTemporalDecoder.from_config, VAE),
        (
            vae.AutoencoderKLTemporalDecoder,
            AutoencoderKLTemporalDecoder.from_config,
            VAE | {"block_out_channels": [32, 64], "down_block_types": ["DownEncoderBlock2D"] * 2},
        ),
        (image_encoder.CLIPVisionModelWithProjection, reference_clip, CLIP),
    ],
    ids=["unet", "another unet", "vae", "vae of two levels", "image encoder"],
)
def test_the_tensors_and_norms_are_those_of_the_reference_class(
    ours: Callable[[Config], nn.Module], theirs: Callable[[Config], nn.Module], config: Config
) -> None:
    with torch.device("meta"):
        mine, reference = ours(config), theirs(config)
    shapes = [{name: each.shape for name, each in m.state_dict().items()} for m in (mine, reference)]
    assert shapes[0] == shapes[1]
    norms = [
        {n: each.eps for n, each in m.named_modules() if isinstance(each, (nn.GroupNorm, nn.LayerNorm))}
        for m in (mine, reference)
    ]
    assert norms[0] == norms[1]


@torch.inference_mode()
def test_the_photo_s_latent_is_the_reference_s_bit_for_bit() -> None:
    reference = checkpoint.pipeline().vae
    mine = filled(vae.AutoencoderKLTemporalDecoder(reference.config), reference)
    photo = torch.rand(1, 3, 64, 48) * 2 - 1
    assert isinstance(mine, vae.AutoencoderKLTemporalDecoder)
    moments = mine.quant_conv(mine.encoder(photo))
    assert torch.equal(moments, reference.encode(photo).latent_dist.parameters)


@torch.inference_mode()
@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_the_photo_s_embedding_is_the_reference_s_bit_for_bit(activation: str) -> None:
    config = CLIP | {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "projection_dim": 16,
        "patch_size": 56,
        "hidden_act": activation,
    }
    reference = reference_clip(config).eval()
    mine = filled(image_encoder.CLIPVisionModelWithProjection(config), reference)
    photo = torch.randn(2, 3, 224, 224)
    assert torch.equal(mine(photo), reference(photo).image_embeds)


@pytest.mark.parametrize(("height", "width"), [(576, 1024), (1024, 576), (224, 224), (48, 88)])
def test_a_photo_is_made_small_as_the_pipeline_does(height: int, width: int) -> None:
    photo = torch.rand(1, 3, height, width) * 2 - 1
    assert torch.equal(image_resize.antialiased(photo, 224), _resize_with_antialiasing(photo, (224, 224)))


def test_numbers_become_the_reference_s_waves() -> None:
    numbers = torch.tensor([0.0, 1.638, 6.0, 127.0, 0.02])
    wanted = get_timestep_embedding(numbers, 320, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert torch.equal(time_embedding.waves(numbers, 320), wanted)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_noise_levels_are_the_reference_s(spacing: str) -> None:
    config = checkpoint.SCHEDULER | {"timestep_spacing": spacing}
    reference, mine = EulerDiscreteScheduler(**config), Schedule.read(config)
    for count in (1, 2, 4, 14, 25, 100):
        reference.set_timesteps(count)
        steps = mine.steps(count)
        assert steps.sigmas == reference.sigmas.tolist()
        assert steps.timesteps == reference.timesteps.tolist()
        assert steps.noise == float(reference.init_noise_sigma)


@pytest.mark.parametrize(
    ("make", "config", "named"),
    [
        (
            unet.UNetSpatioTemporalConditionModel,
            {"down_block_types": ["DownBlock2D"] * 4},
            "down_block_types",
        ),
        (unet.UNetSpatioTemporalConditionModel, UNET | {"up_block_types": []}, "up_block_types"),
        (vae.AutoencoderKLTemporalDecoder, {"down_block_types": ["DownBlock2D"]}, "DownBlock2D"),
        (image_encoder.CLIPVisionModelWithProjection, CLIP | {"hidden_act": "relu"}, "hidden_act: 'relu'"),
        (Schedule.read, {"prediction_type": "epsilon"}, "prediction_type: 'epsilon'"),
        (Schedule.read, checkpoint.SCHEDULER | {"use_karras_sigmas": False}, "use_karras_sigmas: False"),
        (Schedule.read, checkpoint.SCHEDULER | {"sigma_max": None}, "sigma_max"),
    ],
)
def test_a_config_of_another_model_is_a_clear_error(
    make: Callable[[Config], object], config: Config, named: str
) -> None:
    with pytest.raises(KitError, match=named), torch.device("meta"):
        make(config)
