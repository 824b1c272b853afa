"""Interface of the merges: one implementation for each merge of ``skipsearch.merges``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from torch import Tensor, nn

from skipsearch.models.packed import Packed
from skipsearch.plan import Block
from skipsearch.ranges import Range

# Outputs of ``branch``, ``shortcut`` and ``gate``, and the input of the block, ``entered``.
Parts = Mapping[str, Tensor]


class Joined(Protocol):
    """Interface of a block for the diagnosis of its join."""

    def terms(self, parts: Parts) -> tuple[Tensor, Tensor] | None:
        """Return the joined parts of the branch and of the shortcut; None if nothing joins.

        Args:
            parts: Outputs of the parts of the block in one pass.
        """


class Start(NamedTuple):
    """Start of a new block as the identity on its input.

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
        build: Function from a block of a plan and its rate of stochastic depth to a module.
        packed: Function to the packed counterpart, for each class of block.
        start: Function that sets the weights of a new block's join and returns its ``Start``.
        behind: Function from the bounds of branch and shortcut to those of the joined signal.
    """

    build: Callable[[Block, float], nn.Module]
    packed: Packed
    start: Callable[[Block, Any], Start]
    behind: Callable[[Block, Range, Range], Range]
