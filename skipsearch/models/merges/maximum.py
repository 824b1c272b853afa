"""Elementwise maximum."""

from __future__ import annotations

from torch import Tensor, maximum

from skipsearch.models.merges.add import AddBlock
from skipsearch.models.merges.joining import Joining, Start
from skipsearch.models.packed import as_it_is
from skipsearch.ranges import Range


class MaxBlock(AddBlock):
    """after(max(branch(opening(x)), shortcut(x))).

    A maxout unit with two pieces, one of which is the shortcut (Goodfellow et al. 2013,
    arXiv:1302.4389, section 3): the gradient takes the path with the larger value.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(maximum(branch, shortcut))
        return out


JOINING = Joining(
    build=MaxBlock,
    packed={MaxBlock: as_it_is},
    start=lambda block, module: Start(gain=1.0),
    behind=lambda block, branch, shortcut: Range(
        max(branch.low, shortcut.low), max(branch.high, shortcut.high)
    ),
)
