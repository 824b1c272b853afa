"""Concatenation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, cat, nn

from skipsearch.models.links.add import AddLinks
from skipsearch.models.links.linking import Linking
from skipsearch.models.packed import apart, together
from skipsearch.ranges import Range


class CatLinks(AddLinks):
    """after([x, link(output of an earlier stage), ...])."""

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H, W), the channels of x first."""
        linked = [
            link(outputs[source]) for source, link in zip(self.sources, self.links, strict=True)
        ]
        out: Tensor = self.after(cat([x, *linked], 1))
        return out


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


LINKING = Linking(build=CatLinks, packed={CatLinks: PackedCatLinks}, behind=Range.hull)
