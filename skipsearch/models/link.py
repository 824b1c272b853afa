"""Where long skips end: the outputs of earlier stages join the output of a later one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, cat, nn

from skipsearch.errors import unknown_word
from skipsearch.models.ops import sequence
from skipsearch.models.packed import apart, together
from skipsearch.plan import Join


class AddLinks(nn.Module):
    """after(x + link(output of an earlier stage) + ...).

    Residual-of-residual: Zhang et al. 2016, arXiv:1608.02908, Fig. 1 and equation 3.
    """

    def __init__(self, join: Join) -> None:
        super().__init__()
        self.sources = tuple(link.source for link in join.links)
        self.links = nn.ModuleList(sequence(link.steps) for link in join.links)
        self.after = sequence(join.after)

    def forward(self, x: Tensor, outputs: Sequence[Tensor]) -> Tensor:
        """Join what stem and stages have put out so far to x (N, inputs, H, W), in its shape."""
        for source, link in zip(self.sources, self.links, strict=True):
            x = x + link(outputs[source])
        out: Tensor = self.after(x)
        return out

    def extra_repr(self) -> str:
        """Show where the links begin."""
        return f"sources={self.sources}"


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


def make_join(join: Join) -> nn.Module:
    """Build the join of a plan."""
    match join.merge:
        case "add":
            return AddLinks(join)
        case "cat":
            return CatLinks(join)
        case _:
            raise unknown_word("link_merge", join.merge)
