"""One block: opening, branch, shortcut, join, after. The merge stands visibly in ``forward``."""

from __future__ import annotations

from torch import Tensor, cat, nn, ones, sigmoid

from skipsearch.errors import unknown_word
from skipsearch.models.ops import DropPath, sequence
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
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        x = self.opening(x)
        x = self.branch(x)
        x = self.after(x)
        return x


class AddBlock(nn.Module):
    """after(branch(opening(x)) + shortcut(x)).

    He et al. 2015, arXiv:1512.03385, Fig. 2; the orders of He et al. 2016, arXiv:1603.05027,
    Fig. 4. A projection reads ``opening(x)``, an identity or padded shortcut ``x`` itself.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__()
        assert block.shortcut is not None
        self.shares_opening = block.shares_opening
        self.opening = sequence(block.opening)
        self.branch = sequence(block.branch)
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.shortcut = sequence(block.shortcut)
        self.after = sequence(block.after)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(branch + shortcut)
        return out


class ScaledAddBlock(AddBlock):
    """after(branch_scale * branch(opening(x)) + shortcut_scale * dropout(shortcut(x))).

    He et al. 2016, arXiv:1603.05027, Fig. 2b and 2f, Table 1.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__(block, drop_path)
        self.branch_scale = block.branch_scale
        self.shortcut_scale = block.shortcut_scale
        rate = block.shortcut_dropout
        self.shortcut_dropout = nn.Dropout(rate) if rate else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        shortcut = self.shortcut_dropout(shortcut)
        out: Tensor = self.after(self.branch_scale * branch + self.shortcut_scale * shortcut)
        return out

    def extra_repr(self) -> str:
        """Show the factors."""
        return f"branch_scale={self.branch_scale:g}, shortcut_scale={self.shortcut_scale:g}"


class GateBlock(nn.Module):
    """after(g * branch(opening(x)) + (1 - g) * shortcut), g = sigmoid(gate(shortcut)).

    Exclusive gating: Highway networks (Srivastava et al. 2015, arXiv:1505.00387, equation 3) and
    He et al. 2016, arXiv:1603.05027, Fig. 2c. The gate reads the shortcut's signal in the shape
    in which it is joined, which is x itself wherever the shortcut is the identity.
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
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        gate = sigmoid(self.gate(shortcut))
        out: Tensor = self.after(gate * branch + (1 - gate) * shortcut)
        return out

    def extra_repr(self) -> str:
        """Show what the gate's bias starts at."""
        return f"gate_bias={self.gate_bias:g}"


class ShortcutGateBlock(GateBlock):
    """after(branch(opening(x)) + (1 - g) * shortcut), g = sigmoid(gate(shortcut)).

    He et al. 2016, arXiv:1603.05027, Fig. 2d.
    """

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        gate = sigmoid(self.gate(shortcut))
        out: Tensor = self.after(branch + (1 - gate) * shortcut)
        return out


class WeightedAddBlock(AddBlock):
    """after(a * branch(opening(x)) + b * shortcut(x)) with learned numbers a and b.

    Both start at 1, so that the block starts as plain addition.
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__(block, drop_path)
        self.branch_weight = nn.Parameter(ones(()))
        self.shortcut_weight = nn.Parameter(ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(self.branch_weight * branch + self.shortcut_weight * shortcut)
        return out


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
        """(N, inputs, H, W) -> (N, inputs + width, H, W)."""
        branch = self.drop_path(self.branch(self.opening(x)))
        out: Tensor = self.after(cat([x, branch], 1))
        return out


class DualBlock(AddBlock):
    """after([branch + shortcut, rest of the shortcut, rest of the branch]): a dual path.

    Chen et al. 2017, arXiv:1707.01629, Fig. 2d: the first channels of branch and shortcut are
    added (the residual path), those behind them concatenated (the dense path, which grows).
    """

    def __init__(self, block: Block, drop_path: float) -> None:
        super().__init__(block, drop_path)
        self.width = block.branch[-1].outputs - block.growth

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) -> (N, outputs, H / stride, W / stride), rounded upwards."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        added = branch[:, : self.width] + shortcut[:, : self.width]
        out: Tensor = self.after(
            cat([added, shortcut[:, self.width :], branch[:, self.width :]], 1)
        )
        return out

    def extra_repr(self) -> str:
        """Show how many channels are added."""
        return f"width={self.width}"


def make_block(block: Block, drop_path: float) -> nn.Module:
    """Build one block of a plan.

    Args:
        block: Its shapes.
        drop_path: Its rate of stochastic depth.
    """
    match block.merge:
        case None:
            return PlainBlock(block, drop_path)
        case "cat":
            return CatBlock(block, drop_path)
        case "gate":
            return GateBlock(block, drop_path)
        case "shortcut-gate":
            return ShortcutGateBlock(block, drop_path)
        case "weighted":
            return WeightedAddBlock(block, drop_path)
        case "dual":
            return DualBlock(block, drop_path)
        case "add" if block.adds_plainly:
            return AddBlock(block, drop_path)
        case "add":
            return ScaledAddBlock(block, drop_path)
        case _:
            raise unknown_word("merge", block.merge)
