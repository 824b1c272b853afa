"""Concatenation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, cat, nn

from skipsearch.models.links.add import AddLinks
from skipsearch.models.links.linking import Linking, linked
from skipsearch.models.packed import apart, together
from skipsearch.plan import End
from skipsearch.ranges import Range


class CatLinks(AddLinks):
    """after([x, link(earlier signal), ...])."""

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H, W), the channels of x first."""
        out: Tensor = self.after(cat(self.terms(x, ends), 1))
        return out


class PackedCatLinks(nn.Module):
    """after([x, link(earlier signal), ...]) of each member."""

    def __init__(self, join: CatLinks, members: int) -> None:
        super().__init__()
        self.members = members
        self.sources = join.sources
        self.links = join.links
        self.after = join.after

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Map (N, K * inputs, H, W) to (N, K * outputs, H, W), the channels of x first."""
        parts = [x, *linked(self, x, ends)]
        joined = torch.cat([apart(part, self.members) for part in parts], -1)
        out: Tensor = self.after(together(joined))
        return out


LINKING = Linking(build=CatLinks, packed={CatLinks: PackedCatLinks}, behind=Range.hull)
