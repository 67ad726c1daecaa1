"""A card is known by its name, as each marketplace writes it."""

from __future__ import annotations

import pytest

from bootstrap.platforms import card


@pytest.mark.parametrize(
    ("names", "capability"),
    [
        (["NVIDIA GeForce RTX 5090", "RTX 5080", "RTX PRO 6000 Blackwell Server Edition"], 12.0),
        (["NVIDIA B200", "B200"], 10.0),
        (["H100 SXM", "H100_NVL", "NVIDIA H200 NVL", "GH200 SXM"], 9.0),
        (["NVIDIA GeForce RTX 4090", "RTX_4090", "RTX 4090D", "L4", "L40S", "NVIDIA A5000 Ada"], 8.9),
        (["NVIDIA RTX 5000 Ada Generation", "NVIDIA RTX 6000 Ada Generation"], 8.9),
        (["NVIDIA A100-SXM4-80GB", "A100_PCIE", "NVIDIA A30"], 8.0),
        (["NVIDIA GeForce RTX 3080TI", "NVIDIA RTX A6000", "A40", "A10", "NVIDIA RTX A2000"], 8.6),
        (["NVIDIA GeForce RTX 2080 Ti", "Tesla T4", "Quadro RTX 8000"], 7.5),
        (["Tesla V100-SXM2-32GB", "Tesla V100SXM232GB"], 7.0),
        (["NVIDIA GeForce GTX 1080 Ti", "Tesla P40", "NVIDIA P104-100"], 6.1),
        (["AMD Instinct MI300X OAM", "Radeon RX 7900 XTX", "RX 6800"], card.NO_CUDA),
        (["GTX Unheard", ""], None),
    ],
)
def test_the_compute_capability_of_a_name(names: list[str], capability: float | None) -> None:
    assert {name: card.capability(name) for name in names} == dict.fromkeys(names, capability)
