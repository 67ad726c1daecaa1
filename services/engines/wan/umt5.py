"""UMT5's encoder: embedded tokens become hidden states. Modules have the names of Hugging Face's files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bootstrap.errors import KitError
from services.engines.weights.linear import Linear


class Norm(nn.Module):
    """A root mean square norm that always computes in float32."""

    weight: Tensor  # [width]

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.register_buffer("weight", torch.empty(width, device="meta"))

    def forward(self, x: Tensor) -> Tensor:
        variance = x.float().pow(2).mean(-1, keepdim=True)
        return self.weight * (x * torch.rsqrt(variance + self.eps))


class Table(nn.Module):
    weight: Tensor  # [rows, columns]

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(rows, columns, device="meta"))


class Attention(nn.Module):
    """Scores are not scaled; each head adds a bias by the distance between two tokens."""

    def __init__(self, width: int, heads: int, head: int, buckets: int) -> None:
        super().__init__()
        self.head = head
        self.q, self.k, self.v = (Linear(width, heads * head, bias=False) for _ in range(3))
        self.o = Linear(heads * head, width, bias=False)
        self.relative_attention_bias = Table(buckets, heads)

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        bias = self.relative_attention_bias.weight[distances].permute(2, 0, 1)[None].contiguous()
        q, k, v = (
            layer(x).view(len(x), -1, self.head).transpose(0, 1)[None] for layer in (self.q, self.k, self.v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=1.0)
        out: Tensor = self.o(mixed[0].transpose(0, 1).flatten(1))
        return out


class FeedForward(nn.Module):
    def __init__(self, width: int, middle: int) -> None:
        super().__init__()
        self.wi_0, self.wi_1 = (Linear(width, middle, bias=False) for _ in range(2))
        self.wo = Linear(middle, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.wo(F.gelu(self.wi_0(x), approximate="tanh") * self.wi_1(x))
        return out


class AttentionLayer(nn.Module):
    def __init__(self, attention: Attention, norm: Norm) -> None:
        super().__init__()
        self.SelfAttention, self.layer_norm = attention, norm

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        mixed: Tensor = self.SelfAttention(self.layer_norm(x), distances)
        return x + mixed


class FeedForwardLayer(nn.Module):
    def __init__(self, feed: FeedForward, norm: Norm) -> None:
        super().__init__()
        self.DenseReluDense, self.layer_norm = feed, norm

    def forward(self, x: Tensor) -> Tensor:
        fed: Tensor = self.DenseReluDense(self.layer_norm(x))
        return x + fed


class Block(nn.Module):
    def __init__(self, attention: AttentionLayer, feed: FeedForwardLayer) -> None:
        super().__init__()
        self.layer = nn.ModuleList([attention, feed])

    def forward(self, x: Tensor, distances: Tensor) -> Tensor:
        out: Tensor = self.layer[1](self.layer[0](x, distances))
        return out


class Stack(nn.Module):
    def __init__(self, blocks: list[Block], norm: Norm) -> None:
        super().__init__()
        self.block: Any = nn.ModuleList(blocks)
        self.final_layer_norm = norm


class Encoder(nn.Module):
    """Without a tensor in memory, until ``linear.bind`` puts them in place; without the table of tokens."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        """``config`` is transformers' of ``UMT5EncoderModel``.

        Raises:
            KitError: the feed-forward is not the gated one of UMT5 1.1.
        """
        super().__init__()
        if config.get("feed_forward_proj", "gated-gelu") != "gated-gelu":
            raise KitError(
                f"the text encoder's config names the feed-forward {config['feed_forward_proj']}",
                fix="use the text encoder and the config that the manifest names",
            )
        width, eps = config["d_model"], config["layer_norm_epsilon"]
        self.buckets: int = config["relative_attention_num_buckets"]
        self.farthest: int = config["relative_attention_max_distance"]
        blocks = [
            Block(
                AttentionLayer(
                    Attention(width, config["num_heads"], config["d_kv"], self.buckets), Norm(width, eps)
                ),
                FeedForwardLayer(FeedForward(width, config["d_ff"]), Norm(width, eps)),
            )
            for _ in range(config["num_layers"])
        ]
        self.encoder = Stack(blocks, Norm(width, eps))

    def forward(self, x: Tensor) -> Tensor:
        """[tokens, width], embedded, to hidden states of the same shape."""
        distances = self.distances(len(x), x.device)
        for block in self.encoder.block:
            x = block(x, distances)
        out: Tensor = self.encoder.final_layer_norm(x)
        return out

    def distances(self, tokens: int, device: torch.device) -> Tensor:
        """The bucket of each pair's distance, int64 [tokens, tokens]: single steps, then ever wider ones."""
        places = torch.arange(tokens, device=device)
        ahead = places[None] - places[:, None]
        half = self.buckets // 2  # behind a token, and before it
        exact = half // 2
        far = ahead.abs()
        steps = torch.log(far.float() / exact) / math.log(self.farthest / exact) * (half - exact)
        wide = (exact + steps.clamp(min=0).long()).clamp(max=half - 1)
        return (ahead > 0).long() * half + torch.where(far < exact, far, wide)
