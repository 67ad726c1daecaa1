"""What Wan's two VAEs are made of. Modules have the names of diffusers' files; ``vae_key_map`` has Wan's own.

Clips pass in parts, the first frame alone. What a causal convolution needs of the frames before lies in
``Past``, by module, so that the parts make what the whole would.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FRAMES_BEFORE = 2  # that a causal convolution over three frames looks back
Past = dict[nn.Module, Tensor]


class CausalConv3d(nn.Conv3d):
    """[1, channels, frames, h, w] to as many frames, each made of itself and of those before it."""

    def __init__(self, inner: int, outer: int, kernel: int | tuple[int, int, int]) -> None:
        sides = (kernel,) * 3 if isinstance(kernel, int) else kernel
        super().__init__(inner, outer, sides, padding=(0, sides[1] // 2, sides[2] // 2))

    def forward(self, x: Tensor, past: Past | None = None) -> Tensor:
        if self.kernel_size[0] == 1:
            return super().forward(x)
        assert past is not None
        before = past.get(self)
        if before is None:
            before = x.new_zeros(*x.shape[:2], FRAMES_BEFORE, *x.shape[3:])
        x = torch.cat([before, x], dim=2)
        past[self] = x[:, :, -FRAMES_BEFORE:].clone()
        return super().forward(x)


class RmsNorm(nn.Module):
    """Over the channels."""

    def __init__(self, channels: int, *, dimensions: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(channels, *[1] * dimensions))

    def forward(self, x: Tensor) -> Tensor:
        scale: float = len(self.gamma) ** 0.5
        return F.normalize(x.float(), dim=1).to(x.dtype) * scale * self.gamma


class Resnet(nn.Module):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = RmsNorm(inner, dimensions=3), RmsNorm(outer, dimensions=3)
        self.conv1, self.conv2 = CausalConv3d(inner, outer, 3), CausalConv3d(outer, outer, 3)
        self.conv_shortcut = CausalConv3d(inner, outer, 1) if inner != outer else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        short = x if self.conv_shortcut is None else self.conv_shortcut(x)
        x = self.conv1(F.silu(self.norm1(x)), past)
        x = self.conv2(F.silu(self.norm2(x)), past)
        return x + short


class Attention(nn.Module):
    """Each frame to itself, one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = RmsNorm(channels, dimensions=2)
        self.to_qkv = nn.Conv2d(channels, channels * 3, 1)
        self.proj = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        frames = x[0].transpose(0, 1)  # [frames, channels, h, w]
        qkv = self.to_qkv(self.norm(frames)).flatten(2).transpose(1, 2)[:, None].contiguous()
        mixed = F.scaled_dot_product_attention(*qkv.chunk(3, dim=-1))
        out: Tensor = self.proj(mixed[:, 0].transpose(1, 2).reshape(frames.shape))
        return x + out.transpose(0, 1)[None]


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets: Any = nn.ModuleList(Resnet(channels, channels) for _ in range(2))
        self.attentions: Any = nn.ModuleList([Attention(channels)])

    def forward(self, x: Tensor, past: Past) -> Tensor:
        out: Tensor = self.resnets[1](self.attentions[0](self.resnets[0](x, past)), past)
        return out


class Downsample(nn.Module):
    """Half the height and width; ``in_time``: half the frames, too, but for the clip's first."""

    def __init__(self, channels: int, *, in_time: bool) -> None:
        super().__init__()
        # The place in the list is the name in the files.
        self.resample: Any = nn.ModuleList([nn.Identity(), nn.Conv2d(channels, channels, 3, stride=2)])
        self.time_conv = nn.Conv3d(channels, channels, (3, 1, 1), stride=(2, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: Past) -> Tensor:
        x = _each_frame(x, lambda frames: self.resample[1](F.pad(frames, (0, 1, 0, 1))))
        if self.time_conv is None:
            return x
        before, past[self] = past.get(self), x[:, :, -1:].clone()
        if before is None:
            return x
        out: Tensor = self.time_conv(torch.cat([before, x], dim=2))
        return out


class Upsample(nn.Module):
    """Twice the height and width; ``in_time``: twice the frames, too, but for the clip's first."""

    def __init__(self, inner: int, outer: int, *, in_time: bool) -> None:
        super().__init__()
        self.resample: Any = nn.ModuleList([nn.Identity(), nn.Conv2d(inner, outer, 3, padding=1)])
        self.time_conv = CausalConv3d(inner, inner * 2, (3, 1, 1)) if in_time else None

    def forward(self, x: Tensor, past: Past, *, first: bool) -> Tensor:
        if self.time_conv is not None and not first:
            # The first frame is no past of the others here.
            twice: Tensor = self.time_conv(x, past).unflatten(1, (2, -1))
            x = twice.permute(0, 2, 3, 1, 4, 5).flatten(2, 3)
        return _each_frame(
            x, lambda frames: self.resample[1](frames.repeat_interleave(2, -1).repeat_interleave(2, -2))
        )


class AverageDown(nn.Module):
    """The 2.2 VAE's way past a block: neighbours' mean, in space and time."""

    def __init__(self, inner: int, outer: int, *, time: int, space: int) -> None:
        super().__init__()
        self._outer, self._time, self._space = outer, time, space

    def forward(self, x: Tensor) -> Tensor:
        time, space = self._time, self._space
        x = F.pad(x, (0, 0, 0, 0, -x.shape[2] % time, 0))
        batch, channels, frames, height, width = x.shape
        x = x.view(batch, channels, frames // time, time, height // space, space, width // space, space)
        groups: Tensor = x.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4).unflatten(1, (self._outer, -1))
        return groups.mean(dim=2)


class RepeatUp(nn.Module):
    """The 2.2 VAE's way past a block: each value several times, in space and time."""

    def __init__(self, inner: int, outer: int, *, time: int) -> None:
        super().__init__()
        self._outer, self._time = outer, time
        self._repeats = outer * time * 4 // inner

    def forward(self, x: Tensor, *, first: bool) -> Tensor:
        x = x.repeat_interleave(self._repeats, dim=1).unflatten(1, (self._outer, self._time, 2, 2))
        x = x.permute(0, 1, 5, 2, 6, 3, 7, 4).flatten(6, 7).flatten(4, 5).flatten(2, 3)
        return x[:, :, self._time - 1 :] if first else x


def _each_frame(x: Tensor, change: Any) -> Tensor:
    """Do something in 2D with every frame of [1, channels, frames, h, w]."""
    out: Tensor = change(x[0].transpose(0, 1))
    return out.transpose(0, 1)[None]
