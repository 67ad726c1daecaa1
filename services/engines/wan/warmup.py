"""One block of zeros at the size of a default clip, beside the download or the loading: kernels are compiled,
or found compiled, and the libraries have their plans before the first clip asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bootstrap.choose.plan import Plan
from services.engines.base import Start
from services.engines.kernels import dispatch
from services.engines.wan import component_configs, expert, fused
from services.engines.wan.settings import Settings
from services.engines.wan.transformer import Transformer
from services.engines.weights import linear

TEXT_TOKENS = 512


def begin(plan: Plan, start: Start) -> None:
    """Beside all else, where there is anything to prepare: only the fused forward has kernels of ours."""
    device = torch.device(plan.device)
    if Settings.of(plan).matmul != "fp8" or not dispatch.has_fp8_products(device):
        return
    start.background.do(
        "prepare the kernels", lambda: forward(component_configs.configs(plan.config), plan.defaults, device)
    )


@torch.inference_mode()
def forward(configs: Mapping[str, Any], defaults: Mapping[str, Any], device: torch.device) -> torch.Tensor:
    """The fused forward of one block for a clip of the defaults: velocity [1, channels, frames, h, w]."""
    about, codec = configs["transformer"], configs["vae"]
    model = block(about, device)
    space, time = codec.get("scale_factor_spatial", 8), codec.get("scale_factor_temporal", 4)
    width, height = (int(side) // space for side in defaults["size"].split("x"))
    frames = (int(defaults["num_frames"]) - 1) // time + 1
    latents = torch.zeros(1, about["in_channels"], frames, height, width, device=device)
    timestep = torch.tensor([1000.0], device=device)
    text = torch.zeros(1, TEXT_TOKENS, about["text_dim"], device=device)
    return fused.forward(model, latents, timestep, text, lambda _: None, lambda _: None)


def block(about: Mapping[str, Any], device: torch.device) -> Transformer:
    """A transformer of one block, its tensors zeros of the dtypes that an expert's have."""
    compute = torch.bfloat16 if device.type == "cuda" else torch.float32
    model = Transformer({**about, "num_layers": 1})
    expert.narrow(model, "fp8", lambda _: False)
    zeros = {
        name: torch.zeros(tensor.shape, device=device).to(expert.kept_as(name, tensor, compute, "fp8"))
        for name, tensor in model.state_dict().items()
    }
    linear.bind(model, zeros)
    return model
