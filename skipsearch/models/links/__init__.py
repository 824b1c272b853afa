"""Joins of long skips: outputs of earlier stages join that of a later one; one module per way."""

from __future__ import annotations

from torch import nn

from skipsearch.models.links import add, cat
from skipsearch.plan import Join
from skipsearch.table import Table

LINKINGS = Table("link_merge", {"add": add.LINKING, "cat": cat.LINKING})


def make_join(join: Join) -> nn.Module:
    """Build the join of a plan."""
    return LINKINGS[join.merge].build(join)
