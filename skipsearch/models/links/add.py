"""Addition."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from skipsearch.models.links.linking import Linking, linked
from skipsearch.models.ops import sequence
from skipsearch.models.packed import as_it_is
from skipsearch.plan import End, Join
from skipsearch.ranges import Range


class AddLinks(nn.Module):
    """after(x + link(earlier signal) + ...).

    Residual-of-residual: Zhang et al. 2016, arXiv:1608.02908, Fig. 1 and equation 3.
    """

    def __init__(self, join: Join) -> None:
        super().__init__()
        self.sources = tuple(link.source for link in join.links)
        self.links = nn.ModuleList(sequence(link.steps) for link in join.links)
        self.after = sequence(join.after)

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Join earlier signals to x (N, inputs, H, W), in the shape of x."""
        x, *links = self.terms(x, ends)
        for link in links:
            x = x + link
        out: Tensor = self.after(x)
        return out

    def terms(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the signal x (N, C, H, W) and the part of each link, as joined."""
        return [x, *linked(self, x, ends)]

    def weights(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the learned weight of each link, in any shape; empty if it has none."""
        return []

    def extra_repr(self) -> str:
        """Show the sources of the links."""
        return f"sources={self.sources}"


LINKING = Linking(build=AddLinks, packed={AddLinks: as_it_is}, behind=Range.plus)
