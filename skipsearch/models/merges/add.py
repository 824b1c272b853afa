"""Addition, with constant factors if the design has them."""

from __future__ import annotations

from torch import Tensor, nn

from skipsearch.errors import DesignError
from skipsearch.models.merges.joining import Joining, Parts, Start
from skipsearch.models.ops import DropPath, sequence
from skipsearch.models.packed import as_it_is
from skipsearch.plan import Block
from skipsearch.ranges import Range


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
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        out: Tensor = self.after(branch + shortcut)
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        return parts["branch"], parts["shortcut"]


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
        """Map (N, inputs, H, W) to (N, outputs, H / stride, W / stride), rounded up."""
        opened = self.opening(x)
        shortcut = self.shortcut(opened if self.shares_opening else x)
        branch = self.drop_path(self.branch(opened))
        shortcut = self.shortcut_dropout(shortcut)
        out: Tensor = self.after(self.branch_scale * branch + self.shortcut_scale * shortcut)
        return out

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor]:
        """Return the joined parts of the branch and of the shortcut."""
        return self.branch_scale * parts["branch"], self.shortcut_scale * parts["shortcut"]

    def extra_repr(self) -> str:
        """Show the factors."""
        return f"branch_scale={self.branch_scale:g}, shortcut_scale={self.shortcut_scale:g}"


def build(block: Block, drop_path: float) -> nn.Module:
    """Build a block; one without factors uses plain addition."""
    kind = AddBlock if block.adds_plainly else ScaledAddBlock
    return kind(block, drop_path)


def _start(block: Block, module: AddBlock) -> Start:
    scale = block.shortcut_scale
    # A projection compensates for the factor of the shortcut.
    if scale == 1 or (block.shortcut and scale):
        return Start(zeroed=block.added)
    if not block.branch_scale:
        raise DesignError(
            "no weights make a new block the identity: the branch would make up for shortcut_scale"
            f" {scale:g}, but branch_scale is 0"
        )
    return Start(gain=(1 - scale) / block.branch_scale)


def _behind(block: Block, branch: Range, shortcut: Range) -> Range:
    return branch.times(block.branch_scale).plus(shortcut.times(block.shortcut_scale))


JOINING = Joining(
    build=build,
    packed={AddBlock: as_it_is, ScaledAddBlock: as_it_is},
    start=_start,
    behind=_behind,
)
