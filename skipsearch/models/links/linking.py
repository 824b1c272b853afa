"""What one way of joining long skips does to tensors: what belongs to each ``link_merge`` here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from skipsearch.models.packed import Packed
from skipsearch.plan import Join
from skipsearch.ranges import Range


@dataclass(frozen=True, kw_only=True)
class Linking:
    """One way of joining long skips to the output of a stage, in modules.

    Attributes:
        build: Makes the join of a plan.
        packed: What computes the joins of several networks as one, for each class of join.
        behind: Bounds of the joined signal, from those of the stage's output and of one link.
    """

    build: Callable[[Join], nn.Module]
    packed: Packed
    behind: Callable[[Range, Range], Range]
