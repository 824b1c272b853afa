"""Common parts of the packed counterparts of modules.

The signals of a pack are (N, K * C, H, W): the C channels of each of its K members side by side.
``apart`` gives the members a separate axis where they must be distinguished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

# For each class of module, the function from one network's module and the number of networks to the
# module that computes all of them as one.
Packed = Mapping[type[nn.Module], Callable[[Any, int], nn.Module]]


def as_it_is(module: nn.Module, members: int) -> nn.Module:
    """Return unchanged a module that treats the channels of several networks like those of one."""
    return module


def apart(x: Tensor, members: int) -> Tensor:
    """Map (N, K * C, H, W) to (N, H, W, K, C): in channels_last, a view in memory order."""
    return torch.unflatten(x.permute(0, 2, 3, 1), -1, (members, -1))


def together(x: Tensor) -> Tensor:
    """Map (N, H, W, K, C) to (N, K * C, H, W)."""
    return x.flatten(-2).permute(0, 3, 1, 2)


def weigh(factors: Tensor, x: Tensor) -> Tensor:
    """Multiply each member of (N, K * C, H, W) by one of the (K,) factors."""
    return together(factors.to(x.dtype)[:, None] * apart(x, len(factors)))


class PackedLinear(nn.Module):
    """Linear layers side by side; the output has an axis of members."""

    def __init__(self, linear: nn.Linear, members: int) -> None:
        super().__init__()
        self.members = members
        self.weight = nn.Parameter(torch.empty(members * linear.out_features, linear.in_features))
        self.bias = nn.Parameter(torch.empty(members * linear.out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K * inputs) to (N, K, outputs)."""
        x = torch.unflatten(x, 1, (self.members, -1)).transpose(0, 1)
        weight = torch.unflatten(self.weight, 0, (self.members, -1)).transpose(1, 2)
        bias = torch.unflatten(self.bias, 0, (self.members, 1, -1))
        return torch.baddbmm(bias, x, weight).transpose(0, 1)


class Random(nn.Module):
    """A random operation with a separate generator for each member.

    Attributes:
        generators: One per member, on the device of the images; None is PyTorch's global one.
    """

    def __init__(self, members: int) -> None:
        super().__init__()
        self.generators: Sequence[torch.Generator | None] = [None] * members
