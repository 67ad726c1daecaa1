"""Where the original names of Wan's two VAEs (2.1 and 2.2) lie in diffusers' ``AutoencoderKLWan``."""

from __future__ import annotations

RESIDUAL = {
    "norm1": "residual.0",
    "conv1": "residual.2",
    "norm2": "residual.3",
    "conv2": "residual.6",
    "conv_shortcut": "shortcut",
}
MIDDLE = {"resnets.0": "middle.0", "attentions.0": "middle.1", "resnets.1": "middle.2"}
ENDS = {"norm_out": "head.0", "conv_out": "head.2", "conv_in": "conv1"}


def original(name: str, *, resnets: int, nested: bool) -> str:
    """What Wan's own file calls a tensor of diffusers' class.

    ``resnets`` is ``num_res_blocks``; ``nested`` is ``is_residual``: the 2.2 files number inside each block.
    """
    if name.startswith("quant_conv."):
        return name.replace("quant_conv", "conv1", 1)
    if name.startswith("post_quant_conv."):
        return name.replace("post_quant_conv", "conv2", 1)
    side, _, rest = name.partition(".")
    for ours, theirs in ENDS.items():
        if rest.startswith(f"{ours}."):
            return f"{side}.{theirs}{rest[len(ours) :]}"
    if rest.startswith("mid_block."):
        rest = rest.removeprefix("mid_block.")
        for ours, theirs in MIDDLE.items():
            if rest.startswith(ours):
                return f"{side}.{theirs}{_residual(rest[len(ours) :])}"
    _, block, inner = rest.split(".", 2)
    many = "downsamples" if side == "encoder" else "upsamples"
    if side == "encoder" and not nested:
        return f"encoder.{many}.{block}{_residual(f'.{inner}')}"
    count = resnets if side == "encoder" else resnets + 1  # the decoder has one more in each block
    position, leaf = _position(inner, count)
    if nested:
        return f"{side}.{many}.{block}.{many}.{position}{leaf}"
    return f"{side}.{many}.{int(block) * (count + 1) + position}{leaf}"


def _position(inner: str, count: int) -> tuple[int, str]:
    """The place of a resnet or of the resampling layer after ``count`` of them, and what follows."""
    if inner.startswith("resnets."):
        _, number, leaf = inner.split(".", 2)
        return int(number), _residual(f".{leaf}")
    for sampler in ("downsampler.", "upsamplers.0.", "upsampler."):
        if inner.startswith(sampler):
            return count, f".{inner.removeprefix(sampler)}"
    raise KeyError(inner)


def _residual(leaf: str) -> str:
    head, _, tail = leaf[1:].partition(".")
    return f".{RESIDUAL[head]}.{tail}" if head in RESIDUAL else leaf
