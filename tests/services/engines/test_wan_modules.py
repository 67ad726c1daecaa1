"""Our own modules compute what diffusers' and transformers' classes do, on the same tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from services.engines.wan import umt5
from services.engines.wan.autoencoder import Autoencoder, Config
from services.engines.wan.fast_decoder import FastDecoder
from services.engines.wan.transformer import Transformer
from services.engines.wan.vae import Codec
from services.engines.weights import linear
from tests.checkpoints import wan


def nothing(_: int) -> None:
    """The tensors are in place."""


@torch.inference_mode()
@pytest.mark.parametrize("about", [{}, {"in_channels": 36}, {"in_channels": 48, "out_channels": 48}])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_transformer_is_that_of_diffusers_bit_for_bit(about: dict[str, Any], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    config = wan.TRANSFORMER | about
    reference = wan.transformer(config).to(dtype)
    reference.rope = wan.transformer(config).rope
    for name, module in reference.named_modules():  # as diffusers loads them
        if "norm2" in name or name.endswith("time_embedder"):
            module.float()
    for tensors in (reference, *reference.blocks):
        tensors.scale_shift_table.data = tensors.scale_shift_table.data.float()
    own = Transformer(config)
    assert own.state_dict().keys() == reference.state_dict().keys()
    linear.bind(own, reference.state_dict())
    latents, text = torch.randn(1, config["in_channels"], 3, 6, 8), torch.randn(1, 20, config["text_dim"])
    first_frame_is_given = torch.cat([torch.zeros(12), torch.full((24,), 437.5)])[None]
    for timestep in (torch.tensor([437.5]), first_frame_is_given):
        wanted = reference(latents.to(dtype), timestep, text.to(dtype), return_dict=False)[0]
        assert torch.equal(own(latents, timestep, text, nothing, nothing), wanted.float())


@torch.inference_mode()
@pytest.mark.parametrize("tokens", [1, 7, 300])
def test_the_text_encoder_is_that_of_transformers(tokens: int) -> None:
    """GELU's tanh form is one operation here and seven there: the last bits differ."""
    torch.manual_seed(0)
    reference = wan.text_encoder()
    own = umt5.Encoder(wan.text_config())
    linear.bind(own, {name: reference.state_dict()[name] for name in own.state_dict()})
    assert reference.state_dict().keys() - own.state_dict().keys() == {
        "shared.weight",
        "encoder.embed_tokens.weight",
    }
    embedded = torch.randn(tokens, wan.TEXT["d_model"])
    wanted = reference(inputs_embeds=embedded[None]).last_hidden_state[0]
    torch.testing.assert_close(own(embedded), wanted, rtol=1e-5, atol=1e-5)
    buckets = reference.encoder.block[0].layer[0].SelfAttention._relative_position_bucket
    places = torch.arange(tokens)
    assert torch.equal(own.distances(tokens, torch.device("cpu")), buckets(places[None] - places[:, None]))


def codec_and_reference(config: dict[str, Any], *, tiling: bool = False) -> tuple[Codec, Any]:
    """The same random VAE twice: as ours, and as diffusers has it."""
    torch.manual_seed(0)
    reference = wan.vae(config)
    own = Autoencoder(Config.read(config)).eval().requires_grad_(False)
    own.load_state_dict(reference.state_dict())
    if tiling:
        reference.enable_tiling()
    return Codec(own, tiling=tiling), reference


VAES = pytest.mark.parametrize("config", [wan.VAE_21, wan.VAE_22], ids=["2.1", "2.2"])


def decoded(codec: Codec, reference: Any, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Frames of both, int32 [frames, height, width, 3]."""
    wide = latents * codec.std + codec.mean
    with torch.inference_mode():
        pixels = reference.decode(wide).sample[0].permute(1, 2, 3, 0)
    wanted = ((pixels.clamp(-1, 1) + 1) * 127.5).round()
    return torch.cat(list(codec.decode(latents))).int(), wanted.int()


@VAES
def test_the_vae_is_that_of_diffusers(config: dict[str, Any]) -> None:
    """Padding is the convolution's own here and a copy there, so that the last bits may differ."""
    codec, reference = codec_and_reference(config)
    pixels = torch.rand(1, 3, 9, 64, 96) * 2 - 1
    for frames in (1, 5, 9):
        with torch.inference_mode():
            moments = reference.encode(pixels[:, :, :frames]).latent_dist.mode()
        wanted = (moments - codec.mean) / codec.std
        torch.testing.assert_close(codec.encode(pixels[:, :, :frames]), wanted, rtol=1e-4, atol=1e-5)
    latents = torch.randn(1, codec.channels, 4, 64 // codec.space, 96 // codec.space)
    got, expected = decoded(codec, reference, latents)
    assert len(got) == 13
    assert (got - expected).abs().max() <= 1


@VAES
@pytest.mark.parametrize(("height", "width"), [pytest.param(288, 480, marks=pytest.mark.slow), (64, 96)])
def test_tiles_are_those_of_diffusers(config: dict[str, Any], height: int, width: int) -> None:
    """Seams are where diffusers has them, and a picture that fits in one tile is not cut."""
    codec, reference = codec_and_reference(config, tiling=True)
    pixels = torch.rand(1, 3, 1, height, width) * 2 - 1
    with torch.inference_mode():
        moments = reference.encode(pixels).latent_dist.mode()
    wanted = (moments - codec.mean) / codec.std
    torch.testing.assert_close(codec.encode(pixels), wanted, rtol=1e-4, atol=1e-5)
    latents = torch.randn(1, codec.channels, 2, height // codec.space, width // codec.space)
    got, expected = decoded(codec, reference, latents)
    assert (got - expected).abs().max() <= 1


@pytest.mark.parametrize("frames_at_once", [1, 2, 3])
def test_the_fast_decoder_shows_what_diffusers_shows(frames_at_once: int) -> None:
    codec, reference = codec_and_reference(wan.VAE_21)
    latents = torch.randn(1, 16, 6, 4, 6)
    with torch.inference_mode():
        whole = reference.decode(latents).sample[0].permute(1, 2, 3, 0)
    parts = list(FastDecoder(codec.vae, frames_at_once).decode(latents))
    assert len(parts[0]) == 1
    assert (torch.cat(parts).clamp(-1, 1) - whole).abs().max() < 1e-4
