"""The implementation of a way of joining long skips, for each ``link_merge``."""

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
        build: Builds the join of a plan.
        packed: Function to the packed counterpart, for each class of join.
        behind: Bounds of the joined signal, from those of the stage's output and of one link.
    """

    build: Callable[[Join], nn.Module]
    packed: Packed
    behind: Callable[[Range, Range], Range]
