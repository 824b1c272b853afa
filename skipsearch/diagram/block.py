"""Drawings of blocks: the branch as a column, the shortcut on its right, and their join."""

from __future__ import annotations

from skipsearch.diagram.column import IDENTITY, Carried, Column, Item, item_of
from skipsearch.diagram.lettering import measure, shape_text, typeset, word, wrap
from skipsearch.diagram.look import (
    BESIDE,
    FILLS,
    GAP,
    LINE,
    NARROWEST,
    PAD,
    RADIUS,
    SMALL,
    TURN,
)
from skipsearch.diagram.sketch import Label, Mark, Points, Sketch, Wire
from skipsearch.merges import CONCATENATED, MERGES
from skipsearch.operations import Kind
from skipsearch.plan import Block, Size, size_after


def sketch_block(block: Block, size: Size) -> Sketch:
    """Draw a block downwards from x = 0, y = 0, with the shortcut to the right of the branch.

    Args:
        block: Block of a design's plan.
        size: Height and width of its input.
    """
    leaving = size_after((*block.opening, *block.branch), size)
    shapes = {shape_text(block.inputs, size), shape_text(block.outputs, leaving)}
    shapes |= {shape_text(step.outputs, size) for step in (*block.opening, *block.branch)}
    steps = (*block.opening, *block.branch, *block.after)
    words = [measure(word(step)) + 2 * PAD for step in steps]
    beside = [2 * measure(shape, SMALL) + 14.0 for shape in shapes]
    column = Column(max(NARROWEST, *words, *beside))
    column.text("x")
    column.shape = shape_text(block.inputs, size)
    if block.merge is None:
        size = column.steps((*block.opening, *block.branch), size)
    else:
        size = _sketch_join(column, block, size)
    size = column.steps(block.after, size)
    column.shape = ""
    column.arrow()
    column.text(shape_text(block.outputs, size), SMALL)
    return column.sketch


def _sketch_join(column: Column, block: Block, size: Size) -> Size:
    """Draw the branch, the shortcut beside it, and their join."""
    before, beside = (
        (block.opening, block.branch)
        if block.shares_opening
        else ((), (*block.opening, *block.branch))
    )
    size = column.steps(before, size)
    tap = column.tap()
    size = column.steps(beside, size)
    items = tuple(map(item_of, block.shortcut or ()))
    if block.shortcut_dropout:
        items += (Item(f"dropout {block.shortcut_dropout:g}", FILLS[Kind.OTHER]),)
    carried = Carried(items or IDENTITY)
    assert block.merge is not None
    merge = MERGES[block.merge]
    of_branch, of_shortcut, note = map(typeset, merge.weights(block))
    room = max(BESIDE, measure(of_shortcut, SMALL) + 10.0 if of_shortcut else 0.0)
    x = column.width / 2 + room + carried.width / 2

    rows = 2 if of_branch else 1
    column.stretch(tap + carried.height - rows * GAP - (2 * rows - 1) * RADIUS)
    if of_branch:
        y = column.mark("x")
        column.sketch.add(Label(RADIUS + 3.0, y, of_branch, "left", SMALL))
    join = column.mark(merge.sign)
    end: Points = ((x, join), (RADIUS, join))
    if of_shortcut:
        times = column.width / 2 + room / 2
        column.sketch.add(Mark(times, join, "x"), Wire(((times - RADIUS, join), end[1])))
        above = Label(times, join - RADIUS - LINE * SMALL / 2, of_shortcut, size=SMALL)
        column.sketch.add(above)
        end = (end[0], (times + RADIUS, join))
    carried.draw(column.sketch, ((0.0, tap), (x, tap)), (tap + join) / 2, end)
    if merge.appends and merge.sign != CONCATENATED:
        again = column.mark(CONCATENATED)
        column.sketch.add(Wire(((x, join - TURN), (x, again), (RADIUS, again))))
    if note:
        lines = wrap(note.split(" "), x + carried.width / 2 - 5.0, SMALL, " ")
        y = column.y
        column.arrow(LINE * SMALL * len(lines) + 2.0, head=False)
        for i, line in enumerate(lines):
            column.sketch.add(Label(5.0, y + LINE * SMALL * (i + 0.5), line, "left", SMALL))
    if merge.appends:
        column.shape = shape_text(block.outputs, size)
    return size
