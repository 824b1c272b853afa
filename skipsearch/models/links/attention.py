"""Attention gates: every pixel of a long skip is weighted before it is concatenated."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.merges import attention_width
from skipsearch.models.links.add import AddLinks
from skipsearch.models.links.linking import Linking, linked
from skipsearch.models.ops import DefaultConv2d
from skipsearch.models.packed import apart, together
from skipsearch.plan import End, Join
from skipsearch.ranges import Range


class AttentionGate(nn.Module):
    """link * sigmoid(psi(relu(W_x link + W_g x))), one weight for each pixel.

    Oktay et al. 2018, arXiv:1804.03999, equations 1 and 2, at the size of the link: the gating
    signal is already enlarged.
    """

    def __init__(self, inputs: int, channels: int) -> None:
        super().__init__()
        inner = attention_width(channels)
        self.of_link = DefaultConv2d(channels, inner, 1, bias=False)
        self.of_signal = DefaultConv2d(inputs, inner, 1)
        self.weigh = DefaultConv2d(inner, 1, 1)

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        """Weight the link (N, channels, H, W), given the signal x (N, inputs, H, W)."""
        return self.weight(x, link) * link

    def weight(self, x: Tensor, link: Tensor) -> Tensor:
        """Return the weight (N, 1, H, W) of each pixel of the link, from 0 to 1."""
        weight = F.relu(self.of_link(link) + self.of_signal(x))
        return torch.sigmoid(self.weigh(weight))


class PackedAttentionGate(nn.Module):
    """One gate per member."""

    def __init__(self, gate: AttentionGate, members: int) -> None:
        super().__init__()
        self.members = members
        self.of_link, self.of_signal, self.weigh = gate.of_link, gate.of_signal, gate.weigh

    def forward(self, x: Tensor, link: Tensor) -> Tensor:
        """Weight links (N, K * channels, H, W), given signals x (N, K * inputs, H, W)."""
        weight = F.relu(self.of_link(link) + self.of_signal(x))
        weight = torch.sigmoid(self.weigh(weight))
        return together(apart(weight, self.members) * apart(link, self.members))


class AttentionLinks(AddLinks):
    """after([x, gate(x, link(earlier signal)), ...])."""

    def __init__(self, join: Join) -> None:
        super().__init__(join)
        self.gates = nn.ModuleList(AttentionGate(join.inputs, link.outputs) for link in join.links)

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), the channels of x first."""
        out: Tensor = self.after(torch.cat(self.terms(x, ends), 1))
        return out

    def terms(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the signal x (N, inputs, H, W) and each link after its gate."""
        pairs = zip(self.gates, linked(self, x, ends), strict=True)
        return [x, *(gate(x, link) for gate, link in pairs)]

    def weights(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the weight (N, 1, H, W) of each pixel of each link."""
        pairs = zip(self.gates, linked(self, x, ends), strict=True)
        return [cast("AttentionGate", gate).weight(x, link) for gate, link in pairs]


class PackedAttentionLinks(nn.Module):
    """after([x, gate(x, link(earlier signal)), ...]) of each member."""

    def __init__(self, join: AttentionLinks, members: int) -> None:
        super().__init__()
        self.members = members
        self.sources = join.sources
        self.links = join.links
        self.after = join.after
        self.gates = join.gates

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Map (N, K * inputs, H, W) to (N, K * outputs, H, W), the channels of x first."""
        pairs = zip(self.gates, linked(self, x, ends), strict=True)
        parts = [x, *(gate(x, link) for gate, link in pairs)]
        joined = torch.cat([apart(part, self.members) for part in parts], -1)
        out: Tensor = self.after(together(joined))
        return out


LINKING = Linking(
    build=AttentionLinks,
    packed={AttentionGate: PackedAttentionGate, AttentionLinks: PackedAttentionLinks},
    behind=Range.hull,
)
