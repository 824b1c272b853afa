"""The positions in a U: heights of its rows, and places of its columns and of the lanes between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from skipsearch.diagram.look import BESIDE, GAP, LANE, RADIUS
from skipsearch.diagram.u_cells import Cell, rise, stack_height
from skipsearch.diagram.u_links import Leaving, Way, shared_lanes
from skipsearch.plan import End

CLEAR = 10.0  # between lanes and cards
APART = 60.0  # least distance between columns
TEXT = 8.0  # around a text beside a wire


class Row(NamedTuple):
    """Heights in a row.

    Attributes:
        over: Height of the lane above the cards, for each end that has one.
        top: Top of the area of the cards, which no lane crosses.
        base: Bottom of the cards.
        line: Height of the joins.
        under: Height of the lane below the joins.
        low: Top of the area between this row and the next one, which no lane crosses.
        floor: Bottom of that area.
    """

    over: dict[End, float]
    top: float
    base: float
    line: float
    under: float
    low: float
    floor: float


class Grid(NamedTuple):
    """Positions in a U.

    Attributes:
        rows: Heights of each row.
        columns: Middle of each column.
        widths: Width of each column.
        riser: Position at which the encoder's lanes above the cards begin.
        across: Middle of the operations on straight long skips, on the left of each column.
        lanes: Position of each way that goes up or down.
    """

    rows: list[Row]
    columns: list[float]
    widths: list[float]
    riser: float
    across: list[float]
    lanes: dict[Way, float]

    def join(self, cell: Cell) -> float:
        """Return the height of the join of a cell."""
        return self.rows[cell.row].line - cell.join_lift


def _leaving(way: Way, row: Row) -> float:
    """Return the height at which a long skip leaves the row of its source."""
    if way.leaving is Leaving.OVER:
        return row.over[way.skip.source]
    return row.line if way.leaving is Leaving.LINE else row.under


def grid(cells: Mapping[End, Cell], ways: Sequence[Way]) -> Grid:
    """Place the cells and the ways of the long skips."""
    rows = _rows(cells, ways)
    spans = {way: _span(way, cells, rows) for way in ways if not way.straight}
    last = max(cell.column for cell in cells.values())
    of_columns = [[c for c in cells.values() if c.column == i] for i in range(last + 1)]
    widths = [max(cell.width for cell in column) for column in of_columns]
    _, leftwards = _lanes(0.0, 0, spans)
    lanes = {way: -widths[0] / 2 - x for way, x in leftwards.items()}
    columns, across = [0.0], [0.0]
    right = max(widths[0] / 2, _beside(of_columns[0]))
    riser = right + BESIDE
    start = riser if any(end in row.over for row in rows for end in _encoder(cells)) else right
    for number in range(1, last + 2):
        here = [way for way in ways if way.straight and way.channel == number]
        length = max((way.length for way in here), default=0.0)
        x, found = _lanes(start + (BESIDE + length if length else 0.0), number, spans)
        lanes |= found
        left = max(x + BESIDE, right + APART)
        across.append(start + BESIDE + length / 2 if found else (start + left) / 2)
        if number <= last:
            columns.append(left + widths[number] / 2)
            beside = _beside(of_columns[number])
            start = right = columns[-1] + max(widths[number] / 2, beside)
    return Grid(rows, columns, widths, riser, across, lanes)


def _beside(column: Sequence[Cell]) -> float:
    """Return the room for texts on the right of the wires of a column."""
    return max(cell.beside for cell in column) + TEXT


def _encoder(cells: Mapping[End, Cell]) -> list[End]:
    return [end for end, cell in cells.items() if cell.column == 0]


def _lanes(
    x: float, channel: int, spans: Mapping[Way, tuple[float, float]]
) -> tuple[float, dict[Way, float]]:
    """Place the lanes of a channel to the right of x; return where they end, and their places."""
    places: dict[Way, float] = {}
    here = {way: span for way, span in spans.items() if way.channel == channel}
    for lane in shared_lanes(here, LANE):
        width = max(way.width for way in lane)
        x += (BESIDE if width else LANE) + width
        places |= dict.fromkeys(lane, x - width / 2)
    return x, places


def _span(way: Way, cells: Mapping[End, Cell], rows: Sequence[Row]) -> tuple[float, float]:
    source, target = cells[way.skip.source], cells[way.skip.target]
    start = _leaving(way, rows[source.row])
    end = rows[target.row].line - target.join_lift
    return min(start, end), max(start, end)


def _rows(cells: Mapping[End, Cell], ways: Sequence[Way]) -> list[Row]:
    """Place the rows from the top."""
    last = max(cell.column for cell in cells.values())
    read = {cell.reads for cell in cells.values() if 0 < cell.column < last}
    over = read | {way.skip.source for way in ways if way.leaving is Leaving.OVER}
    under = {way.skip.source for way in ways if way.leaving is Leaving.UNDER}
    count = 1 + max(cell.row for cell in cells.values())
    high: list[list[float]] = [[] for _ in range(count)]  # that the room of the cards must have
    low = [[0.0] for _ in range(count)]  # and the room below
    for cell in cells.values():
        high[cell.row].append(
            cell.hang + (rise(cell.piece) + cell.piece.height if cell.piece else 0.0)
        )
        if cell.before:
            low[cell.row if cell.column else cell.row - 1].append(stack_height(cell.before))
    for way in ways:
        target = cells[way.skip.target]
        if not way.straight:
            room = high if way.falls else low
            room[target.row].append(way.height + target.join_lift)
    rows: list[Row] = []
    y = 0.0
    for number in range(count):
        here = {end: cell for end, cell in cells.items() if cell.row == number}
        lanes = {end: y + LANE * i for i, end in enumerate(e for e in here if e in over)}
        top = y + LANE * len(lanes) + CLEAR
        line = top + max(high[number])
        below = line + RADIUS + GAP
        between = below + (CLEAR if under & set(here) else 0.0)
        y = between + max(low[number])
        base = line - max(cell.hang for cell in here.values())
        rows.append(Row(lanes, top, base, line, below, between, y))
        y += GAP
    return rows
