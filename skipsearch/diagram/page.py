"""The page of a diagram: the network on the left, each kind of block with a title, a footer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil

from skipsearch.anatomy import Kind, block_kinds
from skipsearch.cost import cost, measure_network
from skipsearch.design import Design
from skipsearch.diagram.block import sketch_block
from skipsearch.diagram.lettering import shape_text, word, wrap
from skipsearch.diagram.look import (
    BETWEEN,
    GAP,
    INK,
    LINE,
    MARGIN,
    MOST_IN_A_ROW,
    MUTED,
    SIZE,
    SMALL,
    TITLE,
    TITLE_ROOM,
    WIDEST_ROW,
)
from skipsearch.diagram.rendering import Diagram, render
from skipsearch.diagram.sketch import Label, Placed, Sketch, bounds
from skipsearch.diagram.strip import sketch_strip
from skipsearch.diagram.u_shape import sketch_u
from skipsearch.plan import ImageSize, Network, Size, end_word


def draw_diagram(
    design: Design, in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10
) -> Diagram:
    """Draw a design as a figure: the network on the left, each kind of block on its right.

    Args:
        design: Design to draw.
        in_channels: Number of image channels.
        image_size: Side of square images in pixels, or height and width.
        classes: Number of outputs.

    Returns:
        A matplotlib figure; ``savefig("block.png")`` or ``savefig("block.svg")`` writes it.
    """
    total = cost(design, in_channels, image_size, classes)
    plan = design.plan(in_channels)
    image = Size.of(image_size)
    parts = measure_network(plan, image, classes)
    kinds = block_kinds(plan, parts)
    letters = {key: _letter(index) for index, key in enumerate(kinds)}
    sketch_network = sketch_u if design.ups else sketch_strip
    network = sketch_network(plan, parts, letters, classes)
    blocks = [sketch_block(kind.block, kind.size) for kind in kinds.values()]
    titles = [
        _title(design, plan, kind, letters[key], max(block.right - block.left, TITLE_ROOM))
        for (key, kind), block in zip(kinds.items(), blocks, strict=True)
    ]
    placed = [Placed(network, MARGIN - network.left, MARGIN - network.top)]
    placed += _pack(blocks, titles, MARGIN + network.right - network.left + BETWEEN)
    width = max(each.dx + each.sketch.right for each in placed)
    height = max(each.dy + each.sketch.bottom for each in placed)
    facts = [
        f"design {design.id}",
        f"{total.params:,} parameters",
        f"{total.macs:,} multiply-adds",
        f"input {shape_text(in_channels, image)}",
    ]
    footer = _sketch_footer(facts, width - MARGIN)
    placed.append(Placed(footer, MARGIN, height + GAP))
    return render(placed, width + MARGIN, height + GAP + footer.bottom + MARGIN)


def _letter(index: int) -> str:
    """Return the letters of an index: a, b, ... z, aa, ab, ..."""
    before, last = divmod(index, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _title(design: Design, plan: Network, kind: Kind, letter: str, room: float) -> list[Label]:
    """Return the title of a kind of block: its letter, its position, and its layout.

    A note names operations of the layout that come after long skips, in the network.
    """
    stage = plan.named[kind.end]
    head = f"({letter}) {end_word(kind.end)}, block {kind.position} of {len(stage.blocks)}"
    layout = re.findall(r"[^-+]+[-+]? ?", str(design.stages[kind.like - 1].layout))
    last = kind.position == len(stage.blocks)
    after = " - ".join(map(word, stage.join.after)) if stage.join and last else ""
    note = f"({after} behind the long skips)" if after else ""
    return [
        Label(0.0, 0.0, head, "left", TITLE, bold=True),
        *(Label(0.0, 0.0, line, "left", SMALL) for line in wrap(layout, room, SMALL)),
        *(
            Label(0.0, 0.0, line, "left", SMALL, colour=MUTED)
            for line in wrap(note.split(), room, SMALL, " ")
        ),
    ]


def _pack(sketches: Sequence[Sketch], titles: Sequence[list[Label]], left: float) -> list[Placed]:
    """Place drawings of blocks in rows, each below its title."""
    for sketch, title in zip(sketches, titles, strict=True):
        sketch.right = max(sketch.right, sketch.left + max(bounds(line)[2] for line in title))
    widths = [sketch.right - sketch.left for sketch in sketches]
    columns = _columns(widths)
    placed = []
    top = MARGIN
    for first in range(0, len(sketches), columns):
        row = range(first, min(first + columns, len(sketches)))
        above = LINE * (TITLE + SMALL * (max(len(titles[i]) for i in row) - 1)) + 4.0
        for i in row:
            y = LINE * TITLE / 2 - above
            for line in titles[i]:
                sketches[i].add(line._replace(x=sketches[i].left, y=y))
                y += LINE * (line.size + SMALL) / 2
            dx = left + sum(_widest(widths, columns)[: i - first]) + BETWEEN * (i - first)
            placed.append(Placed(sketches[i], dx - sketches[i].left, top + above))
        top = max(each.dy + each.sketch.bottom for each in placed[first:]) + BETWEEN
    return placed


def _columns(widths: Sequence[float]) -> int:
    """Return the number of drawings per row, for rows as even as possible."""
    for rows in range(ceil(len(widths) / MOST_IN_A_ROW), len(widths)):
        columns = ceil(len(widths) / rows)
        if sum(_widest(widths, columns)) + BETWEEN * (columns - 1) <= WIDEST_ROW:
            return columns
    return 1


def _widest(widths: Sequence[float], columns: int) -> list[float]:
    return [max(widths[column::columns]) for column in range(columns)]


def _sketch_footer(facts: Sequence[str], width: float) -> Sketch:
    sketch = Sketch()
    said = (
        "Each kind of block is drawn once; its channels and strides are those of the block named."
    )
    lines = [(line, INK) for line in wrap(facts, width, SIZE, " · ")]
    lines += [(line, MUTED) for line in wrap(said.split(" "), width, SMALL, " ")]
    for i, (line, colour) in enumerate(lines):
        size = SIZE if colour == INK else SMALL
        sketch.add(Label(0.0, LINE * SIZE * (i + 0.5), line, "left", size, colour=colour))
    return sketch
