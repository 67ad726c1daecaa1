"""``CLIPVisionModelWithProjection``: the photo as one vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from services.engines.svd.modules import config as configs


def _quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": _quick_gelu, "gelu": F.gelu}


class Attention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.k_proj, self.v_proj, self.q_proj, self.out_proj = (
            nn.Linear(channels, channels) for _ in range(4)
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        found: Tensor = self.out_proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found


class FeedForward(nn.Module):
    def __init__(self, channels: int, inner: int, activation: str) -> None:
        super().__init__()
        self._activation = ACTIVATIONS[activation]
        self.fc1, self.fc2 = nn.Linear(channels, inner), nn.Linear(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.fc2(self._activation(self.fc1(x)))
        return y


class Layer(nn.Module):
    def __init__(self, channels: int, heads: int, inner: int, activation: str, eps: float) -> None:
        super().__init__()
        self.self_attn = Attention(channels, heads)
        self.layer_norm1 = nn.LayerNorm(channels, eps)
        self.mlp = FeedForward(channels, inner, activation)
        self.layer_norm2 = nn.LayerNorm(channels, eps)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.self_attn(self.layer_norm1(x))
        y: Tensor = x + self.mlp(self.layer_norm2(x))
        return y


class Embeddings(nn.Module):
    """The picture's patches as vectors, behind one vector for the whole."""

    def __init__(self, channels: int, patch: int, patches: int, colours: int) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(channels))
        self.patch_embedding = nn.Conv2d(colours, channels, patch, patch, bias=False)
        self.position_embedding = nn.Embedding(patches + 1, channels)

    def forward(self, picture: Tensor) -> Tensor:
        patches = self.patch_embedding(picture).flatten(2).transpose(1, 2)
        whole = self.class_embedding.expand(len(picture), 1, -1)
        return torch.cat([whole, patches], dim=1) + self.position_embedding.weight


class Layers(nn.Module):
    def __init__(self, layers: list[Layer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class VisionTransformer(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        channels, eps = config.get("hidden_size", 768), config.get("layer_norm_eps", 1e-5)
        patch = config.get("patch_size", 32)
        side: int = config.get("image_size", 224)
        count, heads = config.get("num_hidden_layers", 12), config.get("num_attention_heads", 12)
        inner, activation = (
            config.get("intermediate_size", 3072),
            configs.only(config, "hidden_act", *ACTIVATIONS),
        )
        self.embeddings = Embeddings(channels, patch, (side // patch) ** 2, config.get("num_channels", 3))
        self.pre_layrnorm = nn.LayerNorm(channels, eps)  # as the files spell it
        self.encoder = Layers([Layer(channels, heads, inner, activation, eps) for _ in range(count)])
        self.post_layernorm = nn.LayerNorm(channels, eps)

    def forward(self, picture: Tensor) -> Tensor:
        """[N, 3, side, side], normalised, to [N, channels]."""
        x = self.encoder(self.pre_layrnorm(self.embeddings(picture)))
        whole: Tensor = self.post_layernorm(x[:, 0])
        return whole


class CLIPVisionModelWithProjection(nn.Module):
    def __init__(self, config: Mapping[str, Any]) -> None:
        """
        Raises:
            KitError: the config is not one of this class.
        """
        super().__init__()
        self.side: int = config.get("image_size", 224)  # of the pictures that it takes, in pixels
        self.vision_model = VisionTransformer(config)
        self.visual_projection = nn.Linear(
            config.get("hidden_size", 768), config.get("projection_dim", 512), bias=False
        )

    def forward(self, picture: Tensor) -> Tensor:
        """[N, 3, side, side], normalised, to [N, projection]."""
        embedding: Tensor = self.visual_projection(self.vision_model(picture))
        return embedding
