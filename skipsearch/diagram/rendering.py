"""Sketches drawn with matplotlib, whose global state is neither read nor changed."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from math import ceil, hypot
from typing import Any, assert_never

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path

from skipsearch.diagram.look import DPI, FONT, INK, PALE, RADIUS, SHEET, SIZE, STYLE, TURN
from skipsearch.diagram.sketch import Box, Label, Mark, Placed, Shape, Wire
from skipsearch.merges import CONCATENATED


class Diagram(Figure):
    """A matplotlib figure that shows in a notebook and is saved reproducibly."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write a file like ``Figure.savefig``; the same design gives the same bytes."""
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        kind = options.get("format") or str(fname).rpartition(".")[2].lower()
        with matplotlib.rc_context(STYLE):
            super().savefig(fname, **{"metadata": undated.get(kind, {}), **options})

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def render(placed: Sequence[Placed], width: float, height: float) -> Diagram:
    """Draw sketches with matplotlib, with axes in points."""
    width, height = (12 * ceil(length / 12) for length in (width, height))  # whole pixels
    with matplotlib.rc_context(STYLE):
        figure = Diagram(figsize=(width / 72, height / 72), dpi=DPI)
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        for sketch, dx, dy in placed:
            for shape in sketch.shapes:
                _render_shape(axes, shape, dx, dy)
    return figure


def _render_shape(axes: Axes, shape: Shape, dx: float, dy: float) -> None:
    match shape:
        case Label(x, y, text, anchor, size, bold, colour):
            _render_text(axes, x + dx, y + dy, text, anchor, size, bold, colour)
        case Box(left, top, width, height, fill, sheets):
            for i in range(sheets, -1, -1):
                corner = (left + dx + SHEET * i, top + dy - SHEET * i)
                style = "round,pad=0,rounding_size=2.5"
                axes.add_patch(
                    FancyBboxPatch(
                        corner, width, height, style, facecolor=fill, edgecolor=INK, linewidth=0.6
                    )
                )
        case Wire(points, head):
            _render_wire(axes, [(x + dx, y + dy) for x, y in points], head)
        case Mark(x, y, sign):
            _render_mark(axes, x + dx, y + dy, sign)
        case _:
            assert_never(shape)


def _render_text(
    axes: Axes,
    x: float,
    y: float,
    text: str,
    anchor: str = "center",
    size: float = SIZE,
    bold: bool = False,
    colour: str = INK,
) -> None:
    axes.text(
        x,
        y + 0.36 * size,  # the baseline, so that capitals are centred
        text,
        horizontalalignment=anchor,
        verticalalignment="baseline",
        family=(FONT, "sans-serif"),
        size=size,
        weight="bold" if bold else "normal",
        color=colour,
        parse_math=False,
    )


def _render_wire(axes: Axes, points: list[tuple[float, float]], head: bool) -> None:
    if head:
        (x0, y0), (x1, y1) = points[-2:]
        length = hypot(x1 - x0, y1 - y0)
        ux, uy = (x1 - x0) / length, (y1 - y0) / length
        back = (x1 - 4.5 * ux, y1 - 4.5 * uy)
        wings = [(back[0] + 2.0 * s * uy, back[1] - 2.0 * s * ux) for s in (1, -1)]
        axes.add_patch(Polygon([points[-1], *wings], facecolor=INK, edgecolor="none"))
        points = [*points[:-1], back]
    vertices, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], points[2:], strict=False):
        vertices += [_towards(corner, before), corner, _towards(corner, after)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path = Path([*vertices, points[-1]], [*codes, Path.LINETO])
    axes.add_patch(PathPatch(path, fill=False, edgecolor=INK, linewidth=0.8, capstyle="butt"))


def _towards(corner: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """Return the point at the radius from a corner, or half way if that is nearer."""
    dx, dy = other[0] - corner[0], other[1] - corner[1]
    share = min(0.5, TURN / max(hypot(dx, dy), 1e-6))
    return corner[0] + share * dx, corner[1] + share * dy


def _render_mark(axes: Axes, x: float, y: float, sign: str) -> None:
    if sign == ".":
        axes.add_patch(Circle((x, y), 1.6, facecolor=INK, edgecolor="none"))
        return
    axes.add_patch(Circle((x, y), RADIUS, facecolor=PALE, edgecolor=INK, linewidth=0.8))
    arms = {"+": [(0.6, 0.0), (0.0, 0.6)], "x": [(0.42, 0.42), (0.42, -0.42)]}
    if sign not in arms:
        _render_text(axes, x, y, sign, size=SIZE if sign == CONCATENATED else 5.0)
        return
    for a, b in arms[sign]:
        ends = [(x + RADIUS * s * a, y + RADIUS * s * b) for s in (1, -1)]
        axes.add_patch(PathPatch(Path(ends), edgecolor=INK, linewidth=0.9))
