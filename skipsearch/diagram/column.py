"""Columns of boxes: operations from top to bottom, and those on a wire beside them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from skipsearch.diagram.lettering import measure, shape_text, word
from skipsearch.diagram.look import (
    BOX,
    CARD,
    GAP,
    LINE,
    MUTED,
    PAD,
    RADIUS,
    SHORT,
    SIZE,
    SMALL,
    fill,
)
from skipsearch.diagram.sketch import Box, Label, Mark, Points, Sketch, Wire
from skipsearch.plan import Size, Step, Steps, sized


class Item(NamedTuple):
    """One operation in a drawing; without a fill it is only text."""

    word: str
    fill: str = ""


IDENTITY = (Item("identity"),)


def item_of(step: Step) -> Item:
    """Return the item of an operation, in its colour."""
    return Item(word(step), fill(step))


def draw_item(sketch: Sketch, item: Item, x: float, top: float, width: float) -> None:
    """Draw an operation centred at x."""
    if item.fill:
        sketch.add(Box(x - width / 2, top, width, BOX, item.fill))
    sketch.add(Label(x, top + BOX / 2, item.word))


class Column:
    """Boxes from top to bottom centred at x = 0, with an arrow from each to the next.

    Attributes:
        sketch: Sketch that holds the drawing.
        width: Width of the boxes.
        y: Lower end of the drawing so far.
        shape: Shape to write beside the next arrow.
    """

    def __init__(self, width: float) -> None:
        self.sketch = Sketch()
        self.width = width
        self.y = 0.0
        self.shape = ""

    def arrow(self, length: float = GAP, head: bool = True) -> None:
        """Draw an arrow downwards, with the pending shape beside it."""
        self.sketch.add(Wire(((0.0, self.y), (0.0, self.y + length)), head))
        if self.shape:
            self.sketch.add(
                Label(4.0, self.y + GAP / 2 - 1.0, self.shape, "left", SMALL, colour=MUTED)
            )
        self.y += length
        self.shape = ""

    def text(self, text: str, size: float = SIZE) -> None:
        """Add a centred line of text."""
        self.sketch.add(Label(0.0, self.y + LINE * size / 2, text, size=size))
        self.y += LINE * size

    def card(self, title: str, lines: Sequence[str], sheets: int = 0) -> None:
        """Draw a box with a title and lines of text."""
        self.arrow(GAP - 2.5 * sheets)
        self.y += 2.5 * sheets
        height = LINE * (SIZE + SMALL * len(lines)) + PAD
        self.sketch.add(Box(-self.width / 2, self.y, self.width, height, CARD, sheets))
        y = self.y + PAD / 2 + LINE * SIZE / 2
        self.sketch.add(Label(0.0, y, title, bold=True))
        y += LINE * (SIZE + SMALL) / 2
        for i, line in enumerate(lines):
            self.sketch.add(Label(0.0, y + LINE * SMALL * i, line, size=SMALL))
        self.y += height

    def item(self, item: Item, width: float) -> None:
        """Draw one operation, in a box of at least this width."""
        self.arrow()
        width = max(width, measure(item.word) + 2 * PAD)
        draw_item(self.sketch, item, 0.0, self.y, width)
        self.y += BOX

    def steps(self, steps: Steps, size: Size, width: float = 0.0) -> Size:
        """Draw operations; return the height and width of their output."""
        for step, leaving in sized(steps, size):
            self.item(item_of(step), width or self.width)
            if (step.inputs, size) != (step.outputs, leaving):
                self.shape = shape_text(step.outputs, leaving)
            size = leaving
        return size

    def tap(self) -> float:
        """Mark the start of a wire to the right; return its height."""
        self.arrow(head=False)
        self.sketch.add(Mark(0.0, self.y, "."))
        return self.y

    def mark(self, sign: str) -> float:
        """Draw a join; return the height of its centre."""
        self.arrow()
        self.sketch.add(Mark(0.0, self.y + RADIUS, sign))
        self.y += 2 * RADIUS
        return self.y - RADIUS

    def stretch(self, y: float) -> None:
        """Extend the column to a height if that is lower."""
        if y > self.y:
            self.arrow(y - self.y, head=False)


class Carried(NamedTuple):
    """The operations on a shortcut or a long skip."""

    items: tuple[Item, ...]

    @property
    def width(self) -> float:
        """Width of the widest box or of the text."""
        pad = PAD if self.items[0].fill else 0.0
        return max(measure(item.word) for item in self.items) + 2 * pad

    @property
    def height(self) -> float:
        """Height from the first box to the last, with the wires before and after."""
        return len(self.items) * (BOX + SHORT) + SHORT

    def draw(
        self, sketch: Sketch, start: Points, middle: float, end: Points, head: bool = True
    ) -> None:
        """Draw them on a vertical wire between a start and an end path."""
        x = end[0][0]
        top = middle - self.height / 2 + SHORT
        for item in self.items:
            sketch.add(Wire((*start, (x, top)), head=bool(item.fill)))
            draw_item(sketch, item, x, top, self.width)
            start = ((x, top + BOX),)
            top += BOX + SHORT
        sketch.add(Wire((*start, *end), head))
