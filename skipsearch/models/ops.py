"""The operations of a plan as modules; one entry of ``OPS`` for every word a step can have."""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from math import gcd

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.cost import se_width
from skipsearch.errors import unknown_word
from skipsearch.plan import GROUP_CHANNELS, Step, Steps


class ZeroGammaBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm whose scale starts at 0, so that the block starts as its shortcut.

    Goyal et al. 2017, arXiv:1706.02677, section 5.1.
    """

    def reset_parameters(self) -> None:
        """Start as zero."""
        super().reset_parameters()
        nn.init.zeros_(self.weight)


class LayerNorm2d(nn.LayerNorm):
    """LayerNorm over the channels at each position (Liu et al. 2022, arXiv:2201.03545)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over C."""
        x = x.permute(0, 2, 3, 1)
        x = super().forward(x)
        return x.permute(0, 3, 1, 2)


class SqueezeExcitation(nn.Module):
    """x * sigmoid(W2 relu(W1 mean(x))) (Hu et al. 2018, arXiv:1709.01507, Fig. 2)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = se_width(channels)
        self.squeeze = nn.Conv2d(channels, inner, 1)
        self.excite = nn.Conv2d(inner, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh the channels of (N, C, H, W)."""
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


class DropPath(nn.Module):
    """Stochastic depth: drops the branch of whole images (arXiv:1603.09382, section 3).

    Survivors are divided by the survival rate, so that evaluation needs no factor.
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


class Pad(nn.Module):
    """Option A: every ``stride``-th pixel, and zeros for the channels that are new.

    He et al. 2015, arXiv:1512.03385, section 4.1.
    """

    def __init__(self, extra: int, stride: int) -> None:
        super().__init__()
        self.extra = extra
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C + extra, ceil(H / stride), ceil(W / stride))."""
        x = F.avg_pool2d(x, 1, self.stride)  # over one pixel: a slice costs more to differentiate
        return F.pad(x, (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"extra={self.extra}, stride={self.stride}"


class NarrowProjection(nn.Conv2d):
    """Strided 1x1 convolution that takes its pixels first in channels_last: the same function.

    Used for fewer than 8 input channels. oneDNN 3.12 (torch 2.14) writes beyond its memory in the
    weight gradient of such a strided convolution in channels_last, on CPUs with AVX2 and without
    AVX-512: trainings ended in "corrupted size vs. prev_size".
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
            return super().forward(x)
        x = F.avg_pool2d(x, 1, self.stride)
        return F.conv2d(x, self.weight, self.bias)


def convolution(step: Step) -> nn.Conv2d:
    """Return the convolution of a step."""
    narrow = step.kernel == 1 and step.stride > 1 and step.groups == 1 and step.inputs < 8
    kind = NarrowProjection if narrow else nn.Conv2d
    padding = step.kernel // 2
    return kind(
        *(step.inputs, step.outputs, step.kernel, step.stride, padding),
        groups=step.groups,
        bias=False,
    )


OPS: dict[str, Callable[[Step], nn.Module]] = {
    "conv": convolution,
    "bn": lambda s: nn.BatchNorm2d(s.outputs),
    "bn0": lambda s: ZeroGammaBatchNorm2d(s.outputs),
    "gn": lambda s: nn.GroupNorm(s.outputs // gcd(GROUP_CHANNELS, s.outputs), s.outputs),
    "ln": lambda s: LayerNorm2d(s.outputs, eps=1e-6),
    "relu": lambda s: nn.ReLU(),
    "relu6": lambda s: nn.ReLU6(),
    "gelu": lambda s: nn.GELU(),
    "silu": lambda s: nn.SiLU(),
    "se": lambda s: SqueezeExcitation(s.outputs),
    "scale": lambda s: Scale(),
    "dropout": lambda s: nn.Dropout(s.rate),
    "pad": lambda s: Pad(s.outputs - s.inputs, s.stride),
    "maxpool": lambda s: nn.MaxPool2d(s.kernel, s.stride, padding=1),
    # Sizes divide upwards, and the border averages the pixels that exist (as timm's ResNet-D).
    "avgpool": lambda s: nn.AvgPool2d(s.kernel, s.stride, ceil_mode=True, count_include_pad=False),
}


def sequence(steps: Steps) -> nn.Sequential:
    """Chain operations, each named by its word and number: ``conv1``, ``bn1``, ``relu1``."""
    numbers: Counter[str] = Counter()
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    for step in steps:
        if step.op not in OPS:
            raise unknown_word("operation", step.op)
        numbers[step.op] += 1
        modules[f"{step.op}{numbers[step.op]}"] = OPS[step.op](step)
    return nn.Sequential(modules)
