"""Input of the rules of construction for a stage."""

from __future__ import annotations

from typing import NamedTuple

from skipsearch.layout import Layout


class StageFields(NamedTuple):
    """Fields of a design for one stage."""

    layout: Layout
    shortcut: str
    merge: str
    depth: int
    width: int
    bottleneck_ratio: float
    groups: int
    shortcut_scale: float = 1.0
    branch_scale: float = 1.0
    shortcut_dropout: float = 0.0
    gate_bias: float = 0.0
    growth: int = 1

    @property
    def inner(self) -> int:
        """Channels inside the branch: ``bottleneck_ratio x width``, rounded, at least 1."""
        return max(1, round(self.bottleneck_ratio * self.width))
