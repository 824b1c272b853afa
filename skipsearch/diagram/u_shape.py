"""Networks that enlarge, drawn as a U (Ronneberger et al. 2015, arXiv:1505.04597, Fig. 1).

The encoder goes down on the left and the decoder up on the right, with stages of equal size at
equal height. Nodes are between them (Zhou et al. 2018, arXiv:1807.10165, Fig. 1a).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection

from skipsearch.cost import Parts
from skipsearch.diagram.column import Card, Carried, draw_card, draw_item
from skipsearch.diagram.look import GAP, INK, MUTED, NARROWEST, RADIUS, SMALL
from skipsearch.diagram.sketch import Label, Mark, Point, Points, Sketch, Wire
from skipsearch.diagram.stations import Letters, long_skips
from skipsearch.diagram.u_cells import Cell, Piece, rise, stack_height, u_cells
from skipsearch.diagram.u_grid import grid
from skipsearch.diagram.u_links import Leaving, Way, forks, pieces, way
from skipsearch.plan import End, Network


def sketch_u(plan: Network, parts: Parts, letters: Letters, classes: int) -> Sketch:
    """Draw a network with stages that enlarge, from the top left to the top right."""
    cells = u_cells(plan, parts, letters, classes)
    last = max(cell.column for cell in cells.values())
    ways = [way(skip, cells, last) for skip in long_skips(plan, classes)]
    return _Drawing(cells, ways).sketch


class _Drawing:
    """A U: its cells in the order of computing, then the long skips.

    Attributes:
        sketch: Sketch that holds the drawing.
    """

    def __init__(self, cells: dict[End, Cell], ways: list[Way]) -> None:
        self.sketch = Sketch()
        self.cells = cells
        self.grid = grid(cells, ways)
        self.ends: dict[End, float] = {}  # lower end of each cell in the encoder, upper of others
        self.readings: list[tuple[End, Points]] = []  # what cells read, and on which way
        self.drawn: set[Points] = set()  # parts of wires that several share
        for end, cell in cells.items():
            if cell.column:
                self._draw_upwards(end, cell)
            else:
                self._draw_downwards(end, cell)
        paths: dict[End, list[Points]] = defaultdict(list)
        for source, points in self.readings:
            paths[source].append(points)
        for each in ways:
            paths[each.skip.source].append(self._way(each))
        dots = {source: sorted(forks(found)) for source, found in paths.items()}
        for source, points in self.readings:
            self.sketch.add(Wire(self._branch(points, dots[source])))
        for each in ways:
            self._draw_way(each, dots[each.skip.source])
        self.sketch.add(*(Mark(x, y, ".") for found in dots.values() for x, y in found))

    def _piece(self, piece: Piece, column: int, top: float) -> None:
        """Draw a card as wide as its column, or an operation."""
        x = self.grid.columns[column]
        if isinstance(piece, Card):
            draw_card(self.sketch, piece, x, top, self.grid.widths[column])
        else:
            draw_item(self.sketch, piece, x, top, max(NARROWEST, piece.width))

    def _text(self, x: float, middle: float, text: str, colour: str = MUTED) -> None:
        """Write on the right of a wire or a join."""
        if text:
            self.sketch.add(Label(x + 4.0, middle, text, "left", SMALL, colour=colour))

    def _draw_downwards(self, end: End, cell: Cell) -> None:
        """Draw the image, or a part of the encoder: its boxes, then its join."""
        x, row = self.grid.columns[0], self.grid.rows[cell.row]
        assert cell.piece
        above = self.grid.rows[cell.row - 1].low + GAP
        tops = [above + stack_height(cell.before[:i]) for i in range(len(cell.before))]
        tops.append(row.base - cell.piece.height)
        y = 0.0
        for i, (piece, top) in enumerate(zip((*cell.before, cell.piece), tops, strict=True)):
            tip = (x, top - rise(piece))
            if i:
                self.sketch.add(Wire(((x, y), tip)))
            elif cell.reads is not None:
                self.readings.append((cell.reads, ((x, self.ends[cell.reads]), tip)))
            self._piece(piece, 0, top)
            y = top + piece.height
        if cell.sign:
            join = self.grid.join(cell)
            self.sketch.add(Wire(((x, y), (x, join - RADIUS))), Mark(x, join, cell.sign))
            self._text(x + RADIUS, join, cell.note, INK)
            y = join + RADIUS
            self._text(x, y + GAP / 2, cell.shape)
            for item in cell.after:
                self.sketch.add(Wire(((x, y), (x, y + GAP))))
                self._piece(item, 0, y + GAP)
                y += GAP + item.height
        else:  # of the image
            self._text(x, row.line + (RADIUS + GAP) / 2, cell.shape)
        self.ends[end] = y

    def _draw_upwards(self, end: End, cell: Cell) -> None:
        """Draw a node, a stage that enlarges or the output: what is before its join, then it."""
        x, row = self.grid.columns[cell.column], self.grid.rows[cell.row]
        assert cell.reads is not None
        y = row.low + stack_height(cell.before)
        self.readings.append((cell.reads, (*self._reading(cell.reads, cell), (x, y))))
        for i, piece in enumerate(cell.before):
            if i:
                self.sketch.add(Wire(((x, y), (x, y - GAP))))
                y -= GAP
            y -= piece.height
            self._piece(piece, cell.column, y)
        if cell.sign:
            self.sketch.add(Wire(((x, y), (x, row.line + RADIUS))), Mark(x, row.line, cell.sign))
            self._text(x, row.line + RADIUS + GAP / 2, cell.note, INK)
            y = row.line - RADIUS
        self._text(x, row.line - RADIUS - GAP / 2, cell.shape)
        if cell.piece:
            self.sketch.add(Wire(((x, y), (x, row.base))))
            self._piece(cell.piece, cell.column, row.base - cell.piece.height)
            y = row.base - cell.piece.height - rise(cell.piece)
        self.ends[end] = y

    def _reading(self, source: End, cell: Cell) -> Points:
        """Return the way from an end to below the cell that reads it."""
        there = self.cells[source]
        x = self.grid.columns[cell.column]
        start = self.grid.columns[there.column], self.ends[source]
        if there.column == cell.column:
            return (start,)
        row = self.grid.rows[there.row]
        if source in row.over:
            return (*self._above(source), (x, row.over[source]))
        return (start, (start[0], row.line), (x, row.line))

    def _above(self, source: End) -> Points:
        """Return the way from an end to its lane above the cards."""
        cell = self.cells[source]
        x, row = self.grid.columns[cell.column], self.grid.rows[cell.row]
        start = (x, self.ends[source])
        if cell.column:
            return (start, (x, row.over[source]))
        riser = self.grid.riser
        return (start, (x, row.line), (riser, row.line), (riser, row.over[source]))

    def _way(self, each: Way) -> Points:
        """Return the way of a long skip to its join."""
        source, target = self.cells[each.skip.source], self.cells[each.skip.target]
        row = self.grid.rows[source.row]
        x = self.grid.columns[source.column]
        join = self.grid.join(target)
        side = RADIUS if each.channel > target.column else -RADIUS
        end = (self.grid.columns[target.column] + side, join)
        start: Points = ((x, self.ends[each.skip.source]), (x, row.line))
        if each.straight:
            return (*start, end)
        if each.leaving is Leaving.OVER:
            start = self._above(each.skip.source)
        elif each.leaving is Leaving.UNDER:
            start = (start[0], (x, row.under))
        lane = self.grid.lanes[each]
        return (*start, (lane, start[-1][1]), (lane, join), end)

    def _draw_way(self, each: Way, dots: Collection[Point]) -> None:
        """Draw a long skip with its operations."""
        points = self._branch(self._way(each), dots)
        carried = Carried(each.skip.items)
        if each.straight:
            middle = self.grid.across[each.channel]
            carried.draw_across(self.sketch, points[:-1], middle, points[-1])
            return
        row = self.grid.rows[self.cells[each.skip.target].row]
        top, bottom = (row.top, points[-1][1]) if each.falls else (row.low, row.floor)
        carried.draw(self.sketch, points[:-2], (top + bottom) / 2, points[-2:])

    def _branch(self, points: Points, dots: Collection[Point]) -> Points:
        """Draw a wire up to its last dot, unless it is drawn already; return the rest."""
        *before, rest = pieces(points, dots)
        for piece in before:
            if piece not in self.drawn:
                self.drawn.add(piece)
                self.sketch.add(Wire(piece, head=False))
        return rest
