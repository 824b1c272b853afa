"""Columns of boxes: operations from top to bottom, and those on a wire beside them."""

from __future__ import annotations

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
    SHEET,
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

    @property
    def height(self) -> float:
        """Height of its box."""
        return BOX

    @property
    def width(self) -> float:
        """Width of its box or text, at least."""
        return measure(self.word) + (2 * PAD if self.fill else 0.0)


IDENTITY = (Item("identity"),)


def item_of(step: Step) -> Item:
    """Return the item of an operation, in its colour."""
    return Item(word(step), fill(step))


def draw_item(sketch: Sketch, item: Item, x: float, top: float, width: float) -> None:
    """Draw an operation centred at x."""
    if item.fill:
        sketch.add(Box(x - width / 2, top, width, BOX, item.fill))
    sketch.add(Label(x, top + BOX / 2, item.word))


class Card(NamedTuple):
    """A box with a title and lines of text, with ``sheets`` more behind it."""

    title: str
    lines: tuple[str, ...]
    sheets: int = 0

    @property
    def height(self) -> float:
        """Height of the box, without the sheets."""
        return LINE * (SIZE + SMALL * len(self.lines)) + PAD

    @property
    def width(self) -> float:
        """Width of the box, at least."""
        title = measure(self.title, bold=True)
        return max(title, *(measure(line, SMALL) for line in self.lines)) + 2 * PAD


def draw_card(sketch: Sketch, card: Card, x: float, top: float, width: float) -> None:
    """Draw a card centred at x."""
    sketch.add(Box(x - width / 2, top, width, card.height, CARD, card.sheets))
    y = top + PAD / 2 + LINE * SIZE / 2
    sketch.add(Label(x, y, card.title, bold=True))
    y += LINE * (SIZE + SMALL) / 2
    for i, line in enumerate(card.lines):
        sketch.add(Label(x, y + LINE * SMALL * i, line, size=SMALL))


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

    def card(self, card: Card) -> None:
        """Draw a card in the width of the column."""
        self.arrow(GAP - SHEET * card.sheets)
        self.y += SHEET * card.sheets
        draw_card(self.sketch, card, 0.0, self.y, self.width)
        self.y += card.height

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
    """The operations on a shortcut or a long skip; without any, only a wire is drawn."""

    items: tuple[Item, ...]

    @property
    def width(self) -> float:
        """Width of the widest box or of the text."""
        return max((item.width for item in self.items), default=0.0)

    @property
    def height(self) -> float:
        """Height from the first box to the last, with the wires before and after."""
        return len(self.items) * (BOX + SHORT) + SHORT

    @property
    def length(self) -> float:
        """Length of the boxes side by side, with the wires between."""
        return sum(item.width + SHORT for item in self.items) - SHORT

    def draw(
        self, sketch: Sketch, start: Points, middle: float, end: Points, head: bool = True
    ) -> None:
        """Draw them on a vertical wire, down or up, between a start and an end path."""
        x = end[0][0]
        down = end[0][1] > start[-1][1]
        step = SHORT if down else -SHORT
        y = middle - (self.height / 2 if down else -self.height / 2) + step
        for item in self.items:
            sketch.add(Wire((*start, (x, y)), head=bool(item.fill)))
            draw_item(sketch, item, x, y if down else y - BOX, self.width)
            y += BOX if down else -BOX
            start = ((x, y),)
            y += step
        sketch.add(Wire((*start, *end), head))

    def draw_across(
        self, sketch: Sketch, start: Points, middle: float, end: tuple[float, float]
    ) -> None:
        """Draw them on a horizontal wire between a start path and its end on the right."""
        y = end[1]
        x = middle - self.length / 2
        for item in self.items:
            sketch.add(Wire((*start, (x, y))))
            draw_item(sketch, item, x + item.width / 2, y - BOX / 2, item.width)
            start = ((x + item.width, y),)
            x += item.width + SHORT
        sketch.add(Wire((*start, end)))
