"""Sketches: shapes in points, y downwards, before anything is drawn."""

from __future__ import annotations

from typing import NamedTuple

from skipsearch.diagram.lettering import measure
from skipsearch.diagram.look import INK, LINE, RADIUS, SHEET, SIZE


class Label(NamedTuple):
    """A line of text, with its middle at ``y`` and its ``anchor`` at ``x``."""

    x: float
    y: float
    text: str
    anchor: str = "center"
    size: float = SIZE
    bold: bool = False
    colour: str = INK


class Box(NamedTuple):
    """A box with ``sheets`` more behind it."""

    left: float
    top: float
    width: float
    height: float
    fill: str
    sheets: int = 0


Point = tuple[float, float]
Points = tuple[Point, ...]


class Wire(NamedTuple):
    """A line through points, with or without an arrowhead at its end."""

    points: Points
    head: bool = True


class Mark(NamedTuple):
    """A circle around a sign such as ``+``; or ``.``, where a wire branches off."""

    x: float
    y: float
    sign: str


Shape = Label | Box | Wire | Mark


class Sketch:
    """Shapes in points, y downwards, and their bounds."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.left = self.right = self.top = self.bottom = 0.0

    def add(self, *shapes: Shape) -> None:
        """Add shapes and extend the bounds."""
        self.shapes += shapes
        for left, top, right, bottom in map(bounds, shapes):
            self.left, self.right = min(self.left, left), max(self.right, right)
            self.top, self.bottom = min(self.top, top), max(self.bottom, bottom)


class Placed(NamedTuple):
    """A sketch, and the position of its origin on the page."""

    sketch: Sketch
    dx: float
    dy: float


def bounds(shape: Shape) -> tuple[float, float, float, float]:
    """Return the left, top, right and bottom of a shape."""
    match shape:
        case Label(x, y, text, anchor, size, bold):
            width = measure(text, size, bold)
            left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * width
            return left, y - LINE * size / 2, left + width, y + LINE * size / 2
        case Box(left, top, width, height, _, sheets):
            return left, top - SHEET * sheets, left + width + SHEET * sheets, top + height
        case Wire(points):
            xs, ys = zip(*points, strict=True)
            return min(xs), min(ys), max(xs), max(ys)
        case Mark(x, y):
            return x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS
