"""Nodes between encoder and decoder: UNet++ (Zhou et al. 2018, arXiv:1807.10165, Fig. 1a).

The node ``2.1`` is the first at the level of stage 2: it enlarges stage 3 and joins stage 2. The
node ``2.2`` enlarges the node ``3.1`` and joins stage 2 and the node ``2.1``. A node has the fields
of the stage that enlarges to its level, with the width of the encoder there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from skipsearch.plan import End
from skipsearch.planning.levels import Levels, encoder_ends, last_stage
from skipsearch.planning.stage import StageFields


class NodePlace(NamedTuple):
    """Place of a node in a network.

    Attributes:
        end: Name of the node.
        reads: End that it enlarges.
        joins: Ends of its long skips; the first is the end of the encoder at its level.
        like: Number of the stage that enlarges to its level.
    """

    end: str
    reads: End
    joins: tuple[End, ...]
    like: int


def node_places(levels: Levels, ups: int) -> dict[End, NodePlace]:
    """Return all nodes that a network can have, in the order in which they are computed.

    Args:
        levels: Levels of the ends.
        ups: Number of stages that enlarge.
    """
    encoder, stages = encoder_ends(levels, ups), last_stage(levels)
    deepest = levels[stages - ups]
    places: dict[End, NodePlace] = {}
    for number in range(1, ups):
        for level in range(deepest - 1 - number, levels[stages] - 1, -1):
            if level in encoder:
                start, below = encoder[level], encoder[level + 1]
                reads = below if number == 1 else f"{below}.{number - 1}"
                joins = (start, *(f"{start}.{i}" for i in range(1, number)))
                like = stages - ups + deepest - level
                end = f"{start}.{number}"
                places[end] = NodePlace(end, reads, joins, like)
    return places


def needed_nodes(sources: Iterable[End], places: Mapping[End, NodePlace]) -> list[NodePlace]:
    """Return the nodes where long skips start, and those that these are computed from, in order.

    Args:
        sources: Ends where long skips start.
        places: All nodes of ``node_places``.
    """
    needed: set[End] = set()
    left = list(sources)
    while left:
        end = left.pop()
        if end in places and end not in needed:
            needed.add(end)
            left += (places[end].reads, *places[end].joins)
    return [place for end, place in places.items() if end in needed]


def node_fields(
    like: int, start: End, stages: Sequence[StageFields], stem_width: int
) -> StageFields:
    """Return the fields of a node, as those of a stage.

    Args:
        like: Number of the stage that enlarges to its level.
        start: End of the encoder at its level.
        stages: Fields of each stage.
        stem_width: Output channels of the stem.
    """
    stage = start if isinstance(start, int) else 0  # "s" is in the stem, as 0 is
    width = stages[stage - 1].width if stage else stem_width
    return stages[like - 1]._replace(width=width)
