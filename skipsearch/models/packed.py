"""What the packed counterparts of modules have in common.

A pack carries (N, K * C, H, W), the C channels of each of its K members side by side. Where the
members have to be told apart, ``apart`` gives them an axis of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# What computes the modules of several networks as one, from that of one of them and the number of
# networks, for each class of module.
Packed = Mapping[type[nn.Module], Callable[[Any, int], nn.Module]]


def as_it_is(module: nn.Module, members: int) -> nn.Module:
    """Keep a module that does to the channels of several networks what it does to those of one."""
    return module


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


class Random(nn.Module):
    """An operation that draws numbers: those of each member come from a generator of its own.

    Attributes:
        generators: One a member, on the device of the images; None is PyTorch's global one.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.generators: Sequence[torch.Generator | None] = [None] * members
