"""What one merge does to tensors: what belongs to each word of ``skipsearch.merges`` here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from skipsearch.models.packed import Packed
from skipsearch.plan import Block
from skipsearch.ranges import Range

Parts = Mapping[
    str, Tensor
]  # what left ``branch``, ``shortcut`` and ``gate``, and what ``entered``


class Joined(Protocol):
    """What every block can tell of its join."""

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor] | None:
        """Return what is joined of the branch and of the shortcut; None where nothing joins.

        Args:
            parts: What left the parts of the block in one pass.
        """


class Start(NamedTuple):
    """How a new block starts as the identity on the signal that enters it.

    Attributes:
        gain: By what the branch must multiply the signal; None where the shortcut carries it.
        zeroed: Number of the branch's channels, its first, that must start at 0.
    """

    gain: float | None = None
    zeroed: int = 0


@dataclass(frozen=True, kw_only=True)
class Joining:
    """One way of joining branch and shortcut, in modules.

    Attributes:
        build: Makes a block of a plan, with a rate of stochastic depth.
        packed: What computes the blocks of several networks as one, for each class of block.
        start: Says how a new block starts as the identity, and sets the weights of the join alone.
        behind: Bounds of the joined signal, from those of branch and shortcut.
    """

    build: Callable[[Block, float], nn.Module]
    packed: Packed
    start: Callable[[Block, Any], Start]
    behind: Callable[[Block, Range, Range], Range]
