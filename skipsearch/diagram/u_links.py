"""The ways of the long skips in a U, and the channels that they share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from itertools import combinations, pairwise
from typing import NamedTuple

from skipsearch.diagram.column import Carried
from skipsearch.diagram.sketch import Point, Points
from skipsearch.diagram.stations import Skip
from skipsearch.diagram.u_cells import Cell
from skipsearch.plan import End


class Leaving(Enum):
    """Where a long skip leaves the row of its source."""

    LINE = "on the line of the joins"
    OVER = "above the cards"
    UNDER = "below the joins"


class Way(NamedTuple):
    """The way of a long skip: along the row of its source, and up or down beside its target.

    Attributes:
        skip: The long skip.
        leaving: Side on which it leaves the row of its source.
        channel: Column on whose left it goes up or down; one more than the last column for the
            right of the decoder.
        drop: Number of rows from its source down to its target; negative if it goes up.
        straight: Whether it stays on the line of its row.
    """

    skip: Skip
    leaving: Leaving
    channel: int
    drop: int
    straight: bool = False

    @property
    def falls(self) -> bool:
        """Whether it reaches its target from above."""
        return self.drop > 0 or (self.drop == 0 and self.leaving is Leaving.OVER)

    @property
    def height(self) -> float:
        """Height of its operations."""
        return Carried(self.skip.items).height if self.skip.items else 0.0

    @property
    def width(self) -> float:
        """Width of its operations beside its target."""
        return Carried(self.skip.items).width

    @property
    def length(self) -> float:
        """Length of its operations on the line of its row."""
        return Carried(self.skip.items).length if self.skip.items else 0.0


def way(skip: Skip, cells: Mapping[End, Cell], last: int) -> Way:
    """Return the way of a long skip; ``last`` is the column of the decoder.

    It avoids every cell: within the encoder on its left, within the decoder on its right, and
    otherwise on the left of its target.
    """
    source, target = cells[skip.source], cells[skip.target]
    drop = target.row - source.row
    if target.column == 0:
        return Way(skip, Leaving.LINE, 0, drop)
    if source.column == last:
        return Way(skip, Leaving.OVER, last + 1, drop)
    if source.column:
        return Way(skip, Leaving.OVER, target.column, drop)
    if drop:
        return Way(skip, Leaving.UNDER, target.column, drop)
    free = not any(
        cell.row == source.row and 0 < cell.column < target.column for cell in cells.values()
    )
    leaving = Leaving.LINE if free else Leaving.OVER
    return Way(skip, leaving, target.column, drop, free)


Span = tuple[float, float]


def shared_lanes(spans: Mapping[Way, Span], apart: float) -> list[list[Way]]:
    """Return lanes of ways that do not meet, with the shorter ways first.

    Args:
        spans: Upper and lower end of each way.
        apart: Least distance between two ways in one lane.
    """
    lanes: list[list[Way]] = []
    for each in sorted(spans, key=lambda w: (spans[w][1] - spans[w][0], w.skip.places)):
        top, bottom = spans[each]
        for lane in lanes:
            if all(
                bottom + apart <= spans[other][0] or spans[other][1] + apart <= top
                for other in lane
            ):
                lane.append(each)
                break
        else:
            lanes.append([each])
    return lanes


def forks(paths: Sequence[Points]) -> set[Point]:
    """Return the points where paths from one start part."""
    return {fork(one, other) for one, other in combinations(paths, 2)}


def fork(one: Points, other: Points) -> Point:
    """Return the last point that two paths from one start have in common."""
    here = one[0]
    left, right = _legs(one), _legs(other)
    while left and right and _direction(here, left[0]) == _direction(here, right[0]):
        near = min(left[0], right[0], key=lambda point: _distance(here, point))
        here = near
        left, right = (legs[1:] if legs[0] == near else legs for legs in (left, right))
    return here


def _legs(points: Points) -> list[Point]:
    """Return the points of a path behind its start, without repetitions."""
    return [b for a, b in pairwise(points) if a != b]


def _direction(a: Point, b: Point) -> tuple[int, int]:
    return (b[0] > a[0]) - (b[0] < a[0]), (b[1] > a[1]) - (b[1] < a[1])


def _distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def pieces(points: Points, dots: Collection[Point]) -> list[Points]:
    """Cut a path at dots."""
    found: list[Points] = []
    piece: Points = points[:1]
    for a, b in pairwise(points):
        on = (dot for dot in dots if dot != a and _lies_between(a, dot, b))
        for dot in sorted(on, key=lambda dot: _distance(a, dot)):
            found.append((*piece, dot))
            piece = (dot,)
        if piece[-1] != b:
            piece += (b,)
    return [*found, piece]


def _lies_between(a: Point, point: Point, b: Point) -> bool:
    x, y = point
    return min(a[0], b[0]) <= x <= max(a[0], b[0]) and min(a[1], b[1]) <= y <= max(a[1], b[1])
