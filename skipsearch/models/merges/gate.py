"""Gates: a sigmoid of the shortcut weights one path or both."""

from __future__ import annotations

from math import exp

from torch import Tensor, nn, sigmoid

from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.ops import DropPath, sequence
from skipsearch.models.packed import as_it_is
from skipsearch.plan import Block
from skipsearch.ranges import ZERO


class GateBlock(nn.Module):
    """after(g * branch(opening(x)) + (1 - g) * shortcut), g = sigmoid(gate(shortcut)).

    Exclusive gating: Highway networks (Srivastava et al. 2015, arXiv:1505.00387, equation 3) and
    He et al. 2016, arXiv:1603.05027, Fig. 2c. The gate reads the shortcut's signal in the shape
    of the join, which is x itself if the shortcut is the identity.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__()
        assert block.shortcut is not None
        self.shares_opening = block.shares_opening
        self.opening = sequence(block.opening)
        self.branch = sequence(block.branch)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.shortcut = sequence(block.shortcut)
        self.gate = nn.Conv2d(block.outputs, block.outputs, 1)
        self.gate_bias = block.gate_bias
        assert self.gate.bias is not None
        nn.init.constant_(self.gate.bias, block.gate_bias)
        self.after = sequence(block.after)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        gate = sigmoid(self.gate(shortcut))
        out: Tensor = self.after(gate * branch + (1 - gate) * shortcut)
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        gate = sigmoid(parts["gate"])
        return gate * parts["branch"], (1 - gate) * parts["shortcut"]

    def extra_repr(self) -> str:
        """Show the gate's initial bias."""
        return f"gate_bias={self.gate_bias:g}"


class ShortcutGateBlock(GateBlock):
    """after(branch(opening(x)) + (1 - g) * shortcut), g = sigmoid(gate(shortcut)).

    He et al. 2016, arXiv:1603.05027, Fig. 2d.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        gate = sigmoid(self.gate(shortcut))
        out: Tensor = self.after(branch + (1 - gate) * shortcut)
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        return parts["branch"], (1 - sigmoid(parts["gate"])) * parts["shortcut"]


def _start_shortcut_gate(block: Block, module: ShortcutGateBlock) -> Start:
    nn.init.zeros_(module.gate.weight)  # the gate is then the same for every image
    return Start(gain=1 / (1 + exp(-block.gate_bias)))


GATE = Joining(
    build=GateBlock,
    packed={GateBlock: as_it_is},
    start=lambda block, module: Start(gain=1.0),
    behind=lambda block, branch, shortcut: branch.hull(shortcut),  # a mean of the two
)
SHORTCUT_GATE = Joining(
    build=ShortcutGateBlock,
    packed={ShortcutGateBlock: as_it_is},
    start=_start_shortcut_gate,
    behind=lambda block, branch, shortcut: branch.plus(shortcut.hull(ZERO)),
)
