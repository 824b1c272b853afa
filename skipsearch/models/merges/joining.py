"""The implementation of a merge, for each word of ``skipsearch.merges``."""

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
]  # outputs of ``branch``, ``shortcut`` and ``gate``, and what ``entered``


class Joined(Protocol):
    """What every block provides about its join."""

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor] | None:
        """Return the joined parts of the branch and of the shortcut; None if nothing joins.

        Args:
            parts: Outputs of the parts of the block in one pass.
        """


class Start(NamedTuple):
    """How a new block starts as the identity on its input.

    Attributes:
        gain: Factor by which the branch must multiply the input; None if the shortcut carries it.
        zeroed: Number of the branch's first channels that must start at 0.
    """

    gain: float | None = None
    zeroed: int = 0


@dataclass(frozen=True, kw_only=True)
class Joining:
    """One way of joining branch and shortcut, in modules.

    Attributes:
        build: Builds a block of a plan, with a rate of stochastic depth.
        packed: Function to the packed counterpart, for each class of block.
        start: Sets the weights of a new block's join, and returns how it starts as the identity.
        behind: Bounds of the joined signal, from those of branch and shortcut.
    """

    build: Callable[[Block, float], nn.Module]
    packed: Packed
    start: Callable[[Block, Any], Start]
    behind: Callable[[Block, Range, Range], Range]
