"""No skip connection."""

from __future__ import annotations

from torch import Tensor, nn

from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.ops import sequence
from skipsearch.models.packed import as_it_is
from skipsearch.plan import Block


class PlainBlock(nn.Module):
    """after(branch(opening(x))): no skip connection."""

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__()
        assert drop_path == 0.0, "a block without a shortcut cannot drop its branch"
        self.opening = sequence(block.opening)
        self.branch = sequence(block.branch)
        self.after = sequence(block.after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        x = self.opening(x)
        x = self.branch(x)
        x = self.after(x)
        return x

    def terms(self, parts: Parts) -> None:
        """Return None: nothing is joined."""


JOINING = Joining(
    build=PlainBlock,
    packed={PlainBlock: as_it_is},
    start=lambda block, module: Start(gain=1.0),
    behind=lambda block, branch, shortcut: branch,
)
