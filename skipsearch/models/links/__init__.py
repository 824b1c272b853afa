"""Joins of long skips, which join earlier signals to a later one: one module per merge."""

from __future__ import annotations

from torch import nn

from skipsearch.models.links import add, attention, cat, weighted
from skipsearch.plan import Join
from skipsearch.table import Table

LINKINGS = Table(
    "link_merge",
    {
        "add": add.LINKING,
        "cat": cat.LINKING,
        "attention": attention.LINKING,
        "weighted": weighted.LINKING,
    },
)


def make_join(join: Join) -> nn.Module:
    """Build the join of a plan."""
    return LINKINGS[join.merge].build(join)
