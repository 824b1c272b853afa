"""Addition with two learned weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn, ones

from skipsearch.models.merges.add import AddBlock
from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.packed import weigh
from skipsearch.plan import Block
from skipsearch.ranges import ANY


class WeightedAddBlock(AddBlock):
    """after(a * branch(opening(x)) + b * shortcut(x)) with learned scalars a and b.

    Both start at 1, so that the block starts as plain addition.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__(block, drop_path)
        self.branch_weight = nn.Parameter(ones(()))
        self.shortcut_weight = nn.Parameter(ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(self.branch_weight * branch + self.shortcut_weight * shortcut)
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        return self.branch_weight * parts["branch"], self.shortcut_weight * parts["shortcut"]


class PackedWeightedAddBlock(nn.Module):
    """after(a * branch(opening(x)) + b * shortcut(x)) with separate scalars per member."""

    def __init__(self, block: WeightedAddBlock, members: int) -> None:
        super().__init__()
        self.shares_opening = block.shares_opening
        self.opening = block.opening
        self.branch = block.branch
        self.drop_path = block.drop_path
        self.shortcut = block.shortcut
        self.after = block.after
        self.branch_weight = nn.Parameter(torch.empty(members))
        self.shortcut_weight = nn.Parameter(torch.empty(members))

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K * inputs, H, W) to (N, K * outputs, H / stride, W / stride)."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(
            weigh(self.branch_weight, branch) + weigh(self.shortcut_weight, shortcut)
        )
        return out


def _start(block: Block, module: WeightedAddBlock) -> Start:
    nn.init.zeros_(module.branch_weight)
    return Start()


JOINING = Joining(
    build=WeightedAddBlock,
    packed={WeightedAddBlock: PackedWeightedAddBlock},
    start=_start,
    behind=lambda block, branch, shortcut: ANY,  # weights of either sign
)
