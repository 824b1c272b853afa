"""Dual paths: some channels are added, the others concatenated."""

from __future__ import annotations

import torch
from torch import Tensor, cat, nn

from skipsearch.models.merges.add import AddBlock
from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.packed import apart, together
from skipsearch.plan import Block


class DualBlock(AddBlock):
    """after([branch + shortcut, rest of the shortcut, rest of the branch]): a dual path.

    Chen et al. 2017, arXiv:1707.01629, Fig. 2d: the first channels of branch and shortcut are
    added (the residual path), the others concatenated (the dense path, which grows).
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__(block, drop_path)
        self.width = block.added

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        added = branch[:, : self.width] + shortcut[:, : self.width]
        out: Tensor = self.after(
            cat([added, shortcut[:, self.width :], branch[:, self.width :]], 1)
        )
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the added parts of the branch and of the shortcut."""
        return parts["branch"][:, : self.width], parts["shortcut"][:, : self.width]

    def extra_repr(self) -> str:
        """Show the number of added channels."""
        return f"width={self.width}"


class PackedDualBlock(nn.Module):
    """after([branch + shortcut, rest of the shortcut, rest of the branch]) of each member."""

    def __init__(self, block: DualBlock, members: int) -> None:
        super().__init__()
        self.members = members
        self.width = block.width
        self.shares_opening = block.shares_opening
        self.opening = block.opening
        self.branch = block.branch
        self.drop_path = block.drop_path
        self.shortcut = block.shortcut
        self.after = block.after

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, K * inputs, H, W) to (N, K * outputs, H / stride, W / stride)."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        shortcut, branch = apart(shortcut, self.members), apart(branch, self.members)
        added = branch[..., : self.width] + shortcut[..., : self.width]
        joined = torch.cat([added, shortcut[..., self.width :], branch[..., self.width :]], -1)
        out: Tensor = self.after(together(joined))
        return out


JOINING = Joining(
    build=DualBlock,
    packed={DualBlock: PackedDualBlock},
    start=lambda block, module: Start(zeroed=block.added),
    behind=lambda block, branch, shortcut: branch.plus(shortcut).hull(branch).hull(shortcut),
)
