"""A linear layer whose weight stays in FP8 (E4M3) with one scale a row: exact, or with FP8 products.

*Exact* widens the weight for the one product; all rounding left is that of the activations' dtype. *fp8*
rounds the activations too, one scale a token, and uses the GPU's FP8 units.
"""

from __future__ import annotations

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LARGEST = 448.0  # of E4M3
SMALLEST_SCALE = 1e-12  # a row of zeros must not divide by zero
TOKENS_AT_ONCE = 16384  # the float32 product of more would outgrow small cards


def quantise_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """E4M3 codes of ``values`` [rows, columns] and the float32 scale of each row."""
    wide = values.float()
    scale = wide.abs().amax(dim=-1).clamp(min=SMALLEST_SCALE) / LARGEST
    return (wide / scale[:, None]).clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn), scale


def multiply(
    codes: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None
) -> Tensor:
    """(codes * scale) @ (weight * weight_scale).T + bias, bfloat16 [tokens, out]; emulated off the GPU."""
    if codes.is_cuda and not has_row_scales(codes.device):
        return scaled_afterwards(codes, scale, weight, weight_scale, bias)
    if codes.is_cuda:
        return torch._scaled_mm(
            codes,
            weight.t(),
            scale_a=scale[:, None],
            scale_b=weight_scale[None],
            bias=bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
    product = codes.float() @ weight.float().t() * scale[:, None] * weight_scale[None]
    return product if bias is None else product + bias.float()


@cache
def has_row_scales(device: torch.device) -> bool:
    """Whether the products of this torch take a scale for each row on this card: asked once, of a small one.

    On Blackwell some builds answer that their library does not support it.
    """
    codes = torch.zeros(128, 128, device=device).to(torch.float8_e4m3fn)
    ones = torch.ones(128, device=device)
    try:
        torch._scaled_mm(
            codes,
            codes.t(),
            scale_a=ones[:, None],
            scale_b=ones[None],
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
    except RuntimeError:
        return False
    return True


def scaled_afterwards(
    codes: Tensor, scale: Tensor, weight: Tensor, weight_scale: Tensor, bias: Tensor | None
) -> Tensor:
    """The same as ``multiply`` by a product without scales in float32, which costs another pass over it."""
    one = torch.ones((), device=codes.device)
    out = torch.empty(len(codes), len(weight), dtype=torch.bfloat16, device=codes.device)
    for start in range(0, len(codes), TOKENS_AT_ONCE):
        rows = slice(start, start + TOKENS_AT_ONCE)
        product = torch._scaled_mm(
            codes[rows], weight.t(), scale_a=one, scale_b=one, out_dtype=torch.float32, use_fast_accum=True
        )
        product.mul_(scale[rows, None]).mul_(weight_scale[None])
        out[rows] = product if bias is None else product.add_(bias)
    return out


class Fp8Linear(nn.Module):
    """Made empty; its tensors are put in place by whoever holds the bytes."""

    codes: Tensor  # float8_e4m3fn [out, in]
    scale: Tensor  # float32 [out]
    bias: Tensor | None
    lora_down: Tensor | None  # [rank, in], kept apart from the weight where exactness matters
    lora_up: Tensor | None  # [out, rank], with alpha / rank folded in

    def __init__(self, in_features: int, out_features: int, *, bias: bool, rank: int = 0) -> None:
        super().__init__()
        self.in_features = in_features
        self.out_features = out_features
        self.strength = 1.0  # of the LoRA, when it is kept apart
        empty = torch.empty(0, device="meta")
        self.register_buffer("codes", empty.new_empty(out_features, in_features, dtype=torch.float8_e4m3fn))
        self.register_buffer("scale", empty.new_empty(out_features))
        self.register_buffer("bias", empty.new_empty(out_features) if bias else None)
        self.register_buffer("lora_down", empty.new_empty(rank, in_features) if rank else None)
        self.register_buffer("lora_up", empty.new_empty(out_features, rank) if rank else None)

    def forward(self, x: Tensor) -> Tensor:
        """Exact: the codes widen without rounding, so the scale comes after the product, in float32."""
        flat = x.reshape(-1, self.in_features)
        out = x.new_empty(len(flat), self.out_features)
        codes = self.codes.to(x.dtype)
        for start in range(0, len(flat), TOKENS_AT_ONCE):
            part = flat[start : start + TOKENS_AT_ONCE]
            product = F.linear(part, codes).float() * self.scale
            if self.lora_down is not None and self.lora_up is not None and self.strength:
                low = F.linear(F.linear(part, self.lora_down.to(x.dtype)), self.lora_up.to(x.dtype))
                product = product + low.float() * self.strength
            if self.bias is not None:
                product = product + self.bias.float()
            out[start : start + TOKENS_AT_ONCE] = product
        return out.reshape(*x.shape[:-1], self.out_features)
