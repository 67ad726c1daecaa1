"""Our own modules compute what diffusers' and transformers' classes do, on the same tensors."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from services.engines.wan import umt5
from services.engines.wan.transformer import Transformer
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
