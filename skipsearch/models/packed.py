"""The packed counterparts of modules whose own ``forward`` knows only one network.

A pack carries (N, K * C, H, W), the C channels of each of its K members side by side. Where the
members have to be told apart, ``apart`` gives them an axis of their own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.models.link import CatLinks
from skipsearch.models.ops import DropPath, LayerNorm2d, Pad, Scale


def apart(x: Tensor, members: int) -> Tensor:
    """(N, K * C, H, W) -> (N, H, W, K, C): in channels_last a view of the memory as it lies."""
    return torch.unflatten(x.permute(0, 2, 3, 1), -1, (members, -1))


def together(x: Tensor) -> Tensor:
    """(N, H, W, K, C) -> (N, K * C, H, W)."""
    return x.flatten(-2).permute(0, 3, 1, 2)


def weigh(factors: Tensor, x: Tensor) -> Tensor:
    """Multiply each member of (N, K * C, H, W) by its own of (K,) factors."""
    return together(factors.to(x.dtype)[:, None] * apart(x, len(factors)))


class PackedLinear(nn.Module):
    """Linear layers side by side; what leaves them has an axis of members."""

    def __init__(self, linear: nn.Linear, members: int) -> None:
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.empty(members * linear.out_features, linear.in_features))
        self.bias = nn.Parameter(torch.empty(members * linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """(N, K * inputs) -> (N, K, outputs)."""
        x = torch.unflatten(x, 1, (self.members, -1)).transpose(0, 1)
        weight = torch.unflatten(self.weight, 0, (self.members, -1)).transpose(1, 2)
        bias = torch.unflatten(self.bias, 0, (self.members, 1, -1))
        return torch.baddbmm(bias, x, weight).transpose(0, 1)


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


class PackedScale(nn.Module):
    """One learned factor a member."""

    def __init__(self, scale: Scale, members: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.empty(members))

    def forward(self, x: Tensor) -> Tensor:
        """Scale each member of (N, K * C, H, W)."""
        return weigh(self.factor, x)


class PackedPad(nn.Module):
    """Option A: every ``stride``-th pixel, and zeros behind the channels of each member."""

    def __init__(self, pad: Pad, members: int) -> None:
        super().__init__()
        self.members = members
        self.extra = pad.extra
        self.stride = pad.stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, K * C, H, W) -> (N, K * (C + extra), ceil(H / stride), ceil(W / stride))."""
        x = F.avg_pool2d(x, 1, self.stride)
        return together(F.pad(apart(x, self.members), (0, self.extra)))


class Random(nn.Module):
    """An operation that draws numbers: those of each member come from a generator of its own.

    Attributes:
        generators: One a member, on the device of the images; None is PyTorch's global one.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.generators: Sequence[torch.Generator | None] = [None] * members


class PackedDropout(Random):
    """Dropout; on the CPU a member's mask is what ``nn.Dropout`` would draw from its generator."""

    def __init__(self, dropout: nn.Dropout, members: int) -> None:
        super().__init__(members)
        self.rate = dropout.p

    def forward(self, x: Tensor) -> Tensor:
        """Drop numbers of (N, K * C, H, W) in training."""
        if not self.training:
            return x
        keep = 1.0 - self.rate
        members = x.chunk(len(self.generators), 1)
        masks = [
            torch.empty_like(member).bernoulli_(keep, generator=generator)
            for member, generator in zip(members, self.generators, strict=True)
        ]
        return x * torch.cat(masks, 1).div_(keep)


class PackedDropPath(Random):
    """Stochastic depth; each member drops images of its own."""

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


class PackedCatLinks(nn.Module):
    """after([x, link(output of an earlier stage), ...]) of each member."""

    def __init__(self, join: CatLinks, members: int) -> None:
        super().__init__()
        self.members = members
        self.sources = join.sources
        self.links = join.links
        self.after = join.after

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """(N, K * inputs, H, W) -> (N, K * outputs, H, W), the channels of x first."""
        linked = [
            link(outputs[source]) for source, link in zip(self.sources, self.links, strict=True)
        ]
        joined = torch.cat([apart(part, self.members) for part in (x, *linked)], -1)
        out: Tensor = self.after(together(joined))
        return out
