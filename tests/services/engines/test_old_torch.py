"""What an older torch or an older card lacks is done another way, with the same numbers."""

from __future__ import annotations

import pytest
import torch

from services.engines.kernels import dispatch
from services.engines.weights import fp8_linear


@pytest.mark.parametrize("with_bias", [True, False])
def test_products_without_row_scales_are_scaled_afterwards(with_bias: bool) -> None:
    torch.manual_seed(0)
    rows = fp8_linear.TOKENS_AT_ONCE + 16  # more than one piece
    codes, scale = fp8_linear.quantise_rows(torch.randn(rows, 32))
    weight, weight_scale = fp8_linear.quantise_rows(torch.randn(48, 32) * torch.rand(48, 1) * 9)
    bias = torch.randn(48) if with_bias else None
    wanted = fp8_linear.multiply(codes, scale, weight, weight_scale, bias)
    found = fp8_linear.scaled_afterwards(codes, scale, weight, weight_scale, bias)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), wanted.float(), rtol=1 / 128, atol=1 / 128)


@pytest.mark.parametrize(
    ("triton", "card"),
    [("3.3.1", (8, 0)), ("3.5.1", (8, 0)), ("3.6.0", (7, 0)), ("3.7.1", (7, 0)), ("4.0.0", (7, 0))],
)
def test_kernels_run_on_cards_that_their_triton_compiles_for(triton: str, card: tuple[int, int]) -> None:
    assert dispatch.oldest_card(triton) == card


def test_a_cpu_has_no_kernels() -> None:
    assert not dispatch.has_kernels(torch.device("cpu"))
