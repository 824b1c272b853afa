"""Concatenation."""

from __future__ import annotations

import torch
from torch import Tensor, cat, nn

from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.ops import DropPath, sequence
from skipsearch.models.packed import apart, together
from skipsearch.plan import Block


class CatBlock(nn.Module):
    """after([x, branch(opening(x))]): dense connectivity.

    Huang et al. 2017, arXiv:1608.06993, Fig. 1 and equation 2.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__()
        self.opening = sequence(block.opening)
        self.branch = sequence(block.branch)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.after = sequence(block.after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, inputs + width, H, W)."""
        branch = self.drop_path(self.branch(self.opening(x)))
        out: Tensor = self.after(cat([x, branch], 1))
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        return parts["branch"], parts["entered"]


class PackedCatBlock(nn.Module):
    """after([x, branch(opening(x))]) of each member."""

    def __init__(self, block: CatBlock, members: int) -> None:
        super().__init__()
        self.members = members
        self.opening = block.opening
        self.branch = block.branch
        self.drop_path = block.drop_path
        self.after = block.after

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K * inputs, H, W) to (N, K * (inputs + width), H, W)."""
        branch = self.drop_path(self.branch(self.opening(x)))
        joined = torch.cat([apart(x, self.members), apart(branch, self.members)], -1)
        out: Tensor = self.after(together(joined))
        return out


JOINING = Joining(
    build=CatBlock,
    packed={CatBlock: PackedCatBlock},
    start=lambda block, module: Start(),  # nothing reads the appended channels yet
    behind=lambda block, branch, shortcut: branch.hull(shortcut),
)
