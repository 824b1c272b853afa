"""The cells of a U: one for each stage, node and part of the stem, in rows of equal size.

The encoder is the first column and the decoder the last, with the nodes between. A row is an end
of the encoder, with the stage that enlarges to its size and the nodes there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from skipsearch.cost import Parts
from skipsearch.diagram.column import Card, Item, item_of
from skipsearch.diagram.lettering import measure, shape_text
from skipsearch.diagram.look import GAP, NARROWEST, RADIUS, SHEET, SMALL
from skipsearch.diagram.stations import (
    Letters,
    Station,
    head_items,
    output_text,
    stations,
    steps_card,
)
from skipsearch.merges import ADDED, LINK_MERGES
from skipsearch.plan import IMAGE, OUTPUT, End, MapHead, Network

Piece = Card | Item


class Cell(NamedTuple):
    """A stage, a node or a part of the stem, and what is before it.

    Attributes:
        column: Number of its column, from 0 for the encoder.
        row: Number of its row, from 0 at the top.
        piece: Its card, or the text of the image or the output; None if a stage has no blocks.
        before: Operations between it and its input, in the order of computation.
        reads: End that it reads; None for the image.
        sign: Sign of its join; empty if no long skip ends there.
        note: Parameters of the join.
        shape: Shape of the join's output if the join changes it, of the image, or of the output.
        after: Operations behind the join, in the encoder.
    """

    column: int
    row: int
    piece: Piece | None
    before: tuple[Piece, ...] = ()
    reads: End | None = None
    sign: str = ""
    note: str = ""
    shape: str = ""
    after: tuple[Item, ...] = ()

    @property
    def hang(self) -> float:
        """Least distance between the bottom of its card and the line of its row."""
        if self.column or not self.sign:
            return RADIUS + GAP
        return 2 * (RADIUS + GAP) + sum(GAP + item.height for item in self.after)

    @property
    def join_lift(self) -> float:
        """Height of its join above the line of its row."""
        return 0.0 if self.column else self.hang - GAP - RADIUS

    @property
    def width(self) -> float:
        """Width of its widest box or text, at least."""
        boxes: list[Piece] = [*self.before, *self.after]
        if self.piece:
            boxes.append(self.piece)
        return max(NARROWEST, *(box.width for box in boxes))

    @property
    def beside(self) -> float:
        """Width of the texts on the right of its wires."""
        return max(measure(text, SMALL) for text in (self.note, self.shape))


def rise(piece: Piece) -> float:
    """Return the height of the boxes that show above the box in front of them."""
    return SHEET * piece.sheets if isinstance(piece, Card) else 0.0


def stack_height(pieces: Sequence[Piece]) -> float:
    """Return the height of boxes with arrows between them."""
    return sum(piece.height + GAP for piece in pieces) - GAP


def u_cells(plan: Network, parts: Parts, letters: Letters, classes: int) -> dict[End, Cell]:
    """Return the cells of a network in the order of computing, from the image to the output."""
    named = plan.named
    nodes = {node.end: node for node in plan.nodes}
    last = 1 + max(map(_number, nodes), default=0)
    cuts = {stage.cut for stage in named.values()}
    # A stage that enlarges to the size of the image stands beside it, below the output.
    top = int(IMAGE in cuts)
    image = shape_text(plan.in_channels, parts.stem.entering)
    cells: dict[End, Cell] = {IMAGE: Cell(0, top, Item("image"), shape=image)}
    previous: End = IMAGE
    folded: tuple[Card, ...] = ()  # parts of the stem that have no row
    for station in stations(plan, parts, letters):
        end = station.end
        cards = tuple(filter(None, [station.before]))
        if end in nodes:
            row, reads = cells[nodes[end].start].row, nodes[end].reads
            cells[end] = _cell(station, Cell(_number(end), row, station.card, cards, reads))
        elif end in named and (cut := named[end].cut) is not None:
            row = cells[cut].row
            cells[end] = _cell(station, Cell(last, row, station.card, cards, previous))
            previous = end
        elif end in named or end in plan.sources | cuts:
            row, cards = cells[previous].row + 1, (*folded, *cards)
            cells[end] = _cell(station, Cell(0, row, station.card, cards, previous))
            previous, folded = end, ()
        elif station.card:
            folded += (station.card,)
    cells[OUTPUT] = _output_cell(plan, parts, classes, last, previous)
    return cells


def _number(end: End) -> int:
    """Return the number of a node at its level."""
    return int(str(end).partition(".")[2])


def _cell(station: Station, cell: Cell) -> Cell:
    """Add the join of a station to its cell."""
    join, params = station.join, station.join_params
    if join is None:
        return cell
    changes = join.outputs != join.inputs
    return cell._replace(
        sign=LINK_MERGES[join.merge].sign,
        note=f"links: {params:,} parameters" if params else "",
        shape=shape_text(join.outputs, station.size) if changes else "",
        after=tuple(map(item_of, join.after)),
    )


def _output_cell(plan: Network, parts: Parts, classes: int, column: int, reads: End) -> Cell:
    """Return the cell of the output, with the head below it."""
    head = plan.head
    card = (steps_card("head", head.steps, parts.head),) if head.steps else ()
    before = (*card, *head_items(head, classes))
    cell = Cell(column, 0, Item(output_text(head, classes)), before, reads)
    if not isinstance(head, MapHead):
        return cell
    shape = shape_text(classes, parts.stem.entering)
    return cell._replace(shape=shape, sign=ADDED if head.links else "")
