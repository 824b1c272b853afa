"""Drawings of designs as text: blocks as in the papers, with shapes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from skipsearch.cost import Cost, Part, Parts, StageParts, cost, measure_network, total_cost
from skipsearch.design import Design
from skipsearch.merges import CONCATENATED, LINK_MERGES, MERGES
from skipsearch.operations import OPERATIONS
from skipsearch.plan import (
    Block,
    End,
    Head,
    ImageSize,
    Join,
    MapHead,
    Network,
    Size,
    Stage,
    Step,
    Steps,
    end_word,
    size_after,
    sized,
)

WIDTH = 24  # columns of the branch


def draw_design(
    design: Design, in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10
) -> str:
    """Draw a design: its blocks, its stages with shapes and cost, and its totals.

    Args:
        design: Design to draw.
        in_channels: Number of image channels.
        image_size: Side of square images in pixels, or height and width.
        classes: Number of outputs.

    Returns:
        Lines of text.
    """
    total = cost(design, in_channels, image_size, classes)
    plan = design.plan(in_channels)
    image = Size.of(image_size)
    parts = measure_network(plan, image, classes)
    drawings = [
        f"{end_word(kind.end)}, block {kind.position}: {design.stages[kind.like - 1].layout}\n\n"
        f"{draw_block(kind.block, kind.size)}\n"
        for kind in block_kinds(plan, parts).values()
    ]
    rows = [_steps_row("stem", plan.stem, parts.stem)] if plan.stem else []
    for end, like, stage, measured in walk_stages(plan, parts):
        rows += _stage_rows(end, stage, measured, str(design.stages[like - 1].layout))
    ending = total_cost([parts.head, parts.output])
    words, shape = head_words(plan.head, classes), str(classes)
    if isinstance(plan.head, MapHead):
        shape = _shape(classes, image)
        words += [f"(+) {end_word(link.source)}" for link in plan.head.links]
    rows.append(Row("head", " - ".join([*map(step_word, plan.head.steps), *words]), shape, ending))
    table = _table(rows)
    summary = (
        f"design {design.id}: {total.params:,} parameters, {total.macs:,} multiply-adds,"
        f" {total.activation_bytes:,} activation bytes\n"
        f"for one image of {_shape(in_channels, image)}"
    )
    return "\n".join([*drawings, table, "", summary])


def walk_stages(plan: Network, parts: Parts) -> Iterator[tuple[End, int, Stage, StageParts]]:
    """Yield the stages and nodes in the order in which they are computed.

    Args:
        plan: Plan of a design.
        parts: Its parts.

    Yields:
        The name, the number of the stage with the same fields, the plan and the parts of each.
    """
    like = {node.end: node.like for node in plan.nodes}
    measured: dict[End, StageParts] = dict(enumerate(parts.stages, 1))
    measured |= {node.end: part for node, part in zip(plan.nodes, parts.nodes, strict=True)}
    for end, stage in plan.named.items():
        yield end, end if isinstance(end, int) else like[end], stage, measured[end]


def _stage_rows(end: End, stage: Stage, measured: StageParts, layout: str) -> list[Row]:
    """Return the rows of a stage or node in the order of their operations."""
    rows = []
    title = end_word(end)
    if stage.transition:
        chain, size = _chain(stage.transition), measured.transition.leaving
        if stage.enlarges:
            size = measured.join.entering
        shape = _shape(stage.transition[-1].outputs, size)
        rows.append(Row(f"to {title}", chain, shape, measured.transition.cost))
    if stage.blocks:
        name = f"{len(stage.blocks)} x {layout}"
        shape = _shape(stage.blocks[-1].outputs, measured.blocks[-1].leaving)
        rows.append(Row(title, name, shape, total_cost(measured.blocks)))
    if stage.join:
        shape = _shape(stage.join.outputs, measured.join.leaving)
        row = Row(f"links to {end}", _join_words(stage.join), shape, measured.join.cost)
        rows.insert(1 if stage.enlarges else len(rows), row)
    return rows


def head_words(head: Head | MapHead, classes: int) -> list[str]:
    """Return the operations of a head after its steps, without the long skips to the output."""
    if isinstance(head, Head):
        return ["mean", *map(step_word, head.pooled), f"linear {head.features}->{classes}"]
    words = [f"map{head.kernel} {head.features}->{classes}"]
    return words + ([f"bilinear x{head.enlarge}"] if head.enlarge > 1 else [])


def draw_block(block: Block, size: Size) -> str:
    """Draw one block from top to bottom, the shortcut to the right of the branch.

    Args:
        block: Block of a design's plan.
        size: Height and width of its input.
    """
    inner = _written((*block.opening, *block.branch), size)
    leaving = size_after((*block.opening, *block.branch), size)
    after = _written(block.after, leaving)
    width = max(WIDTH, *(len(word) + 2 for word, _ in inner + after))
    lines = [_line("x", _shape(block.inputs, size), "", width)]
    if block.merge is None:
        lines += [_line(word, shape, "", width) for word, shape in inner]
    else:
        split = len(block.opening) if block.shares_opening else 0
        before, beside = inner[:split], inner[split:]
        lines += [_line(word, shape, "", width) for word, shape in before]
        lines.append("  " + "├" + "─" * (width + 13) + "┐")
        carried = [step_word(step) for step in block.shortcut or ()]
        if block.shortcut_dropout:
            carried.append(f"dropout {block.shortcut_dropout:g}")
        carried = carried or ["identity"]
        start = max(0, (len(beside) - len(carried)) // 2)
        rows = max(len(beside), len(carried))
        for i in range(rows):
            word, shape = beside[i] if i < len(beside) else ("│", "")
            side = carried[i - start] if start <= i < start + len(carried) else "│"
            lines.append(_line(word, shape, side, width))
        merge = MERGES[block.merge]
        mark = _mark(CONCATENATED if merge.appends else merge.sign)
        lines.append(f"  {mark:─<{width + 14}}┘  {_formula(block)}")
        if merge.appends:
            lines.append(_line("", _shape(block.outputs, leaving), "", width))
    lines += [_line(word, shape, "", width) for word, shape in after]
    lines.append("  ↓")
    return "\n".join(line.rstrip() for line in lines)


def _mark(sign: str) -> str:
    return sign if sign == CONCATENATED else f"({sign})"


def _formula(block: Block) -> str:
    """Return the factors of branch and shortcut in a block's join; empty if there are none."""
    assert block.merge is not None
    branch, shortcut, note = MERGES[block.merge].weights(block)
    if " " in shortcut:
        shortcut = f"({shortcut})"
    words = f"{branch} branch + {shortcut} shortcut".strip().replace("  ", " ")
    return ", ".join(filter(None, [words if branch or shortcut else "", note]))


def _join_words(join: Join) -> str:
    """Describe the starts of long skips, their operations, and the join."""
    words = []
    for link in join.links:
        words.append(f"{end_word(link.source)} ({_chain(link.steps) or 'identity'})")
    merge = LINK_MERGES[join.merge]
    how = " ".join(filter(None, [_mark(merge.sign), merge.note]))
    return " - ".join(filter(None, [f"{how} {', '.join(words)}", _chain(join.after)]))


def _line(word: str, shape: str, side: str, width: int) -> str:
    return f"  {word:<{width}}{shape:<14}{side}"


def step_word(step: Step) -> str:
    """Return one operation as text, with its channels, stride and groups."""
    return OPERATIONS[step.op].label(step)


def _chain(steps: Steps) -> str:
    return " - ".join(map(step_word, steps))


def _written(steps: Steps, size: Size) -> list[tuple[str, str]]:
    """Return each operation and its output shape as text."""
    return [(step_word(step), _shape(step.outputs, left)) for step, left in sized(steps, size)]


def _shape(channels: int, size: Size) -> str:
    return f"{channels}x{size.height}x{size.width}"


def block_kind(block: Block) -> tuple[object, ...]:
    """Return a key that is equal for blocks whose drawings differ only in channel counts."""
    steps = (*block.opening, *block.branch, *block.after)
    ops = tuple((step_word(step).partition(" ")[0], step.groups > 1) for step in steps)
    shortcut = None if block.shortcut is None else tuple(step.op for step in block.shortcut)
    return ops, shortcut, block.merge, block.shares_opening


class Kind(NamedTuple):
    """A kind of block, represented by its first block.

    Attributes:
        end: Number of the stage, or name of the node.
        like: Number of the stage with the same fields, from 1.
        position: Position in the stage, from 1.
        block: Block of the plan.
        size: Height and width of the input.
    """

    end: End
    like: int
    position: int
    block: Block
    size: Size


def block_kinds(plan: Network, parts: Parts) -> dict[tuple[object, ...], Kind]:
    """Find the first block of each kind, in order, keyed by ``block_kind``."""
    kinds: dict[tuple[object, ...], Kind] = {}
    for end, like, stage, measured in walk_stages(plan, parts):
        pairs = zip(stage.blocks, measured.blocks, strict=True)
        for position, (block, part) in enumerate(pairs, 1):
            kinds.setdefault(block_kind(block), Kind(end, like, position, block, part.entering))
    return kinds


class Row(NamedTuple):
    """A row of the table of a network's parts."""

    name: str
    operations: str
    output: str
    cost: Cost


def _steps_row(name: str, steps: Steps, part: Part) -> Row:
    return Row(name, _chain(steps), _shape(steps[-1].outputs, part.leaving), part.cost)


def _table(rows: list[Row]) -> str:
    cells = [("", "operations", "output", "parameters", "multiply-adds")]
    cells += [(a, b, c, f"{cost.params:,}", f"{cost.macs:,}") for a, b, c, cost in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(5)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:<{widths[1]}}  {row[2]:<{widths[2]}}"
        f"  {row[3]:>{widths[3]}}  {row[4]:>{widths[4]}}"
        for row in cells
    )
