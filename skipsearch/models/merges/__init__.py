"""Merges of branch and shortcut in the blocks of a network: one module per merge."""

from __future__ import annotations

from torch import nn

from skipsearch.models.merges import add, cat, dual, gate, maximum, plain, weighted
from skipsearch.models.merges.joining import Joining
from skipsearch.plan import Block
from skipsearch.table import Table

PLAIN = plain.JOINING
JOININGS = Table(
    "merge",
    {
        "add": add.JOINING,
        "cat": cat.JOINING,
        "gate": gate.GATE,
        "shortcut-gate": gate.SHORTCUT_GATE,
        "weighted": weighted.JOINING,
        "dual": dual.JOINING,
        "max": maximum.JOINING,
    },
)


def joining_of(block: Block) -> Joining:
    """Return the implementation of a block's merge; ``PLAIN`` if it has none."""
    return PLAIN if block.merge is None else JOININGS[block.merge]


def make_block(block: Block, drop_path: float) -> nn.Module:
    """Build one block of a plan.

    Args:
        block: Shapes of the block.
        drop_path: Rate of stochastic depth.
    """
    return joining_of(block).build(block, drop_path)
