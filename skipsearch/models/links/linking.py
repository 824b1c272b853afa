"""Interface of the joins of long skips: one implementation for each ``link_merge``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from skipsearch.models.packed import Packed
from skipsearch.models.sizes import cut
from skipsearch.plan import End, Join
from skipsearch.ranges import Range


class Linked(Protocol):
    """A join of long skips."""

    sources: tuple[End, ...]
    links: nn.ModuleList


def linked(join: Linked, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
    """Return the output of each link of a join, in the height and width of x.

    Args:
        join: Module with the links, or its packed counterpart.
        x: Signal (N, C, H, W) that the links join.
        ends: Signal at each end so far.
    """
    pairs = zip(join.sources, join.links, strict=True)
    return [cut(link(ends[source]), x.shape[2:]) for source, link in pairs]


@dataclass(frozen=True, kw_only=True)
class Linking:
    """One way of joining long skips to the output of a stage, in modules.

    Attributes:
        build: Function from a join of a plan to its module.
        packed: Function to the packed counterpart, for each class of join.
        behind: Function from the bounds of the stage's output and of one link to those of the
            joined signal.
    """

    build: Callable[[Join], nn.Module]
    packed: Packed
    behind: Callable[[Range, Range], Range]
