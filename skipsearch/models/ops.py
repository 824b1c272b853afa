"""The operations of a plan as modules: one entry of ``OPS`` for each operation.

A module whose ``forward`` works for a single network only is followed by its packed counterpart.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.models.packed import Packed, Random, apart, as_it_is, together, weigh
from skipsearch.operations import GROUP_CHANNELS, TRANSPOSED, se_width
from skipsearch.plan import Step, Steps
from skipsearch.table import Table


class ZeroGammaBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose scale starts at 0, so that the block starts as its shortcut.

    Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """

    def reset_parameters(self) -> None:
        """Reset the parameters, with a weight of zero."""
        super().reset_parameters()
        nn.init.zeros_(self.weight)


class GroupNorm(nn.GroupNorm):
    """GroupNorm (Wu & He 2018, arXiv:1803.08494) that accepts groups of a single value.

    The output of such a group is the bias. ``nn.GroupNorm`` rejects it for one image, but not for
    several.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over each group of channels."""
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels at each position (Liu et al. 2022, arXiv:2201.03545)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over C."""
        x = x.permute(0, 2, 3, 1)
        x = super().forward(x)
        return x.permute(0, 3, 1, 2)


class PackedLayerNorm2d(nn.Module):
    """LayerNorm over the channels of each member at each position."""

    def __init__(self, norm: LayerNorm2d, members: int) -> None:
        super().__init__()
        self.members = members
        self.shape = norm.normalized_shape
        self.eps = norm.eps
        self.weight = nn.Parameter(torch.empty(members * self.shape[0]))
        self.bias = nn.Parameter(torch.empty(members * self.shape[0]))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, K * C, H, W) over C."""
        x = F.layer_norm(apart(x, self.members), self.shape, eps=self.eps)
        weight = self.weight.to(x.dtype).view(self.members, -1)
        bias = self.bias.to(x.dtype).view(self.members, -1)
        return together(torch.addcmul(bias, x, weight))


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation: x * sigmoid(W2 relu(W1 mean(x))).

    Hu et al. 2018, arXiv:1709.01507, Fig. 2.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = se_width(channels)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Rescale the channels of (N, C, H, W)."""
        weight = x.mean((2, 3), keepdim=True)
        weight = F.relu(self.squeeze(weight))
        weight = torch.sigmoid(self.excite(weight))
        return x * weight


class Scale(nn.Module):
    """One learned factor that starts at 0.

    ReZero (Bachlechner et al. 2020, arXiv:2003.04887) and SkipInit (De & Smith 2020,
    arXiv:2002.10444).
    """

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Scale x."""
        return self.factor * x


class PackedScale(nn.Module):
    """One learned factor per member."""

    def __init__(self, scale: Scale, members: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(members))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each member of (N, K * C, H, W)."""
        return weigh(self.factor, x)


class PackedDropout(Random):
    """Dropout; on the CPU, each mask is that of ``nn.Dropout`` with the member's generator."""

    def __init__(self, dropout: nn.Dropout, members: int) -> None:
        super().__init__(members)
        self.rate = dropout.p

    def forward(self, x: Tensor) -> Tensor:
        """Drop elements of (N, K * C, H, W) in training."""
        if not self.training:
            return x
        keep = 1.0 - self.rate
        members = x.chunk(len(self.generators), 1)
        masks = [
            torch.empty_like(member).bernoulli_(keep, generator=generator)
            for member, generator in zip(members, self.generators, strict=True)
        ]
        return x * torch.cat(masks, 1).div_(keep)


class DropPath(nn.Module):
    """Stochastic depth: the branch is dropped for whole images (arXiv:1603.09382, section 3).

    The remaining images are divided by the survival rate, so that evaluation needs no factor.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop images of (N, C, H, W) in training."""
        if not self.training:
            return x
        keep = 1.0 - self.rate
        mask = x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep)
        return x * mask / keep

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate:g}"


class PackedDropPath(Random):
    """Stochastic depth; each member drops images independently."""

    def __init__(self, drop_path: DropPath, members: int) -> None:
        super().__init__(members)
        self.rate = drop_path.rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop images of (N, K * C, H, W) in training."""
        if not self.training:
            return x
        keep = 1.0 - self.rate
        masks = [
            x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep, generator=generator)
            for generator in self.generators
        ]
        return together(apart(x, len(masks)) * torch.stack(masks, 3) / keep)


class Pad(nn.Module):
    """Option A: every ``stride``-th pixel, and zeros for the new channels.

    He et al. 2015, arXiv:1512.03385, section 4.1.
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, C, H, W) to (N, C + extra, ceil(H / stride), ceil(W / stride))."""
        x = F.avg_pool2d(x, 1, self.stride)  # the backward pass of a slice is slower
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"extra={self.extra}, stride={self.stride}"


class PackedPad(nn.Module):
    """Option A: every ``stride``-th pixel, and zeros after the channels of each member."""

    def __init__(self, pad: Pad, members: int) -> None:
        super().__init__()
        self.members = members
        self.extra = pad.extra
        self.stride = pad.stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K * C, H, W) to (N, K * (C + extra), ceil(H / stride), ceil(W / stride))."""
        x = F.avg_pool2d(x, 1, self.stride)
        return together(F.pad(apart(x, self.members), (0, self.extra)))


class NarrowProjection(nn.Conv2d):
    """Strided 1x1 convolution that selects its pixels first if they are in channels_last.

    The function is the same. It is used for fewer than 16 input channels. oneDNN 3.12 (torch 2.14)
    writes out of bounds in the weight gradient of such a convolution in channels_last: with AVX2
    below 8 channels, with AVX-512 below 16 and images of 64 x 64. Trainings crashed with
    "corrupted size vs. prev_size".
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        x = F.avg_pool2d(x, 1, self.stride)
        return F.conv2d(x, self.weight, self.bias)


class DefaultConv2d(nn.Conv2d):
    """Convolution with PyTorch's default initial weights, which the linear layer has as well."""


def convolution(step: Step) -> nn.Conv2d:
    """Return the convolution of a step."""
    narrow = step.kernel == 1 and step.stride > 1 and step.groups == 1 and step.inputs < 16
    kind = NarrowProjection if narrow else nn.Conv2d
    padding = step.kernel // 2
    return kind(
        *(step.inputs, step.outputs, step.kernel, step.stride, padding),
        groups=step.groups,
        bias=False,
    )


def pack_convolution(conv: nn.Conv2d, members: int) -> nn.Conv2d:
    """Return the convolution of all members, with their number as a factor of the groups."""
    return nn.Conv2d(
        members * conv.in_channels,
        members * conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=members * conv.groups,
        bias=conv.bias is not None,
    )


def _transposed(step: Step) -> nn.ConvTranspose2d:
    """Return a transposed convolution with a bias that doubles height and width."""
    kernel, stride = step.kernel, step.enlarge
    padding = (kernel - 1) // 2
    return nn.ConvTranspose2d(
        *(step.inputs, step.outputs, kernel, stride, padding),
        output_padding=stride - kernel + 2 * padding,
    )


def enlarging(factor: int) -> nn.Module:
    """Return a bilinear interpolation, or the identity for factor 1."""
    return nn.Identity() if factor == 1 else nn.Upsample(scale_factor=factor, mode="bilinear")


def _pack_transposed(conv: nn.ConvTranspose2d, members: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        members * conv.in_channels,
        members * conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        conv.output_padding,  # type: ignore[arg-type]
        groups=members,
    )


def _resize(mode: str) -> Implementation:
    return Implementation(
        lambda step: nn.Upsample(scale_factor=step.enlarge, mode=mode), {nn.Upsample: as_it_is}
    )


def _pack_batch_norm(norm: nn.BatchNorm2d, members: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(members * norm.num_features, norm.eps, norm.momentum)


def _group_norm(step: Step) -> GroupNorm:
    return GroupNorm(step.outputs // gcd(GROUP_CHANNELS, step.outputs), step.outputs)


def _pack_group_norm(norm: GroupNorm, members: int) -> GroupNorm:
    return GroupNorm(members * norm.num_groups, members * norm.num_channels, norm.eps)


def _average_pool(step: Step) -> nn.AvgPool2d:
    """Pool with sizes rounded up; borders average existing pixels only (as in timm's ResNet-D)."""
    return nn.AvgPool2d(step.kernel, step.stride, ceil_mode=True, count_include_pad=False)


@dataclass(frozen=True)
class Implementation:
    """The modules of one operation of ``skipsearch.operations``.

    Attributes:
        build: Function from a step to its module.
        packed: Function to the packed counterpart, for each class that ``build`` returns.
    """

    build: Callable[[Step], nn.Module]
    packed: Packed


TRANSPOSED_CONVOLUTION = Implementation(_transposed, {nn.ConvTranspose2d: _pack_transposed})
OPS = Table(
    "operation",
    {
        "conv": Implementation(
            convolution, {nn.Conv2d: pack_convolution, NarrowProjection: pack_convolution}
        ),
        "bn": Implementation(
            lambda step: nn.BatchNorm2d(step.outputs), {nn.BatchNorm2d: _pack_batch_norm}
        ),
        "bn0": Implementation(
            lambda step: ZeroGammaBatchNorm2d(step.outputs),
            {ZeroGammaBatchNorm2d: _pack_batch_norm},
        ),
        "gn": Implementation(_group_norm, {GroupNorm: _pack_group_norm}),
        "ln": Implementation(
            lambda step: LayerNorm2d(step.outputs, eps=1e-6), {LayerNorm2d: PackedLayerNorm2d}
        ),
        "relu": Implementation(lambda step: nn.ReLU(), {nn.ReLU: as_it_is}),
        "relu6": Implementation(lambda step: nn.ReLU6(), {nn.ReLU6: as_it_is}),
        "gelu": Implementation(lambda step: nn.GELU(), {nn.GELU: as_it_is}),
        "silu": Implementation(lambda step: nn.SiLU(), {nn.SiLU: as_it_is}),
        "se": Implementation(
            lambda step: SqueezeExcitation(step.outputs), {SqueezeExcitation: as_it_is}
        ),
        "scale": Implementation(lambda step: Scale(), {Scale: PackedScale}),
        "dropout": Implementation(lambda step: nn.Dropout(step.rate), {nn.Dropout: PackedDropout}),
        "pad": Implementation(
            lambda step: Pad(step.outputs - step.inputs, step.stride), {Pad: PackedPad}
        ),
        "maxpool": Implementation(
            lambda step: nn.MaxPool2d(step.kernel, step.stride, padding=1),
            {nn.MaxPool2d: as_it_is},
        ),
        "maxpool2": Implementation(
            lambda step: nn.MaxPool2d(step.kernel, step.stride, ceil_mode=True),
            {nn.MaxPool2d: as_it_is},
        ),
        "avgpool": Implementation(_average_pool, {nn.AvgPool2d: as_it_is}),
        **dict.fromkeys(TRANSPOSED, TRANSPOSED_CONVOLUTION),
        "nearest": _resize("nearest"),
        "bilinear": _resize("bilinear"),
        "shuffle": Implementation(
            lambda step: nn.PixelShuffle(step.enlarge), {nn.PixelShuffle: as_it_is}
        ),
    },
)


def sequence(steps: Steps) -> nn.Sequential:
    """Chain operations, named by operation and number: ``conv1``, ``bn1``, ``relu1``."""
    numbers: Counter[str] = Counter()
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for step in steps:
        numbers[step.op] += 1
        modules[f"{step.op}{numbers[step.op]}"] = OPS[step.op].build(step)
    return nn.Sequential(modules)
