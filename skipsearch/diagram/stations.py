"""What drawings of networks show, in order: cards of their parts, long skips, and the ending."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import NamedTuple

from skipsearch.anatomy import block_kind, walk_stages
from skipsearch.cost import Cost, Part, Parts, StageParts, measure_steps, total_cost
from skipsearch.diagram.column import Card, Item, item_of
from skipsearch.diagram.lettering import chain_lines, shape_text, typeset
from skipsearch.diagram.look import FILLS
from skipsearch.kinds import end_place
from skipsearch.merges import LINK_MERGES
from skipsearch.operations import Kind
from skipsearch.plan import (
    BEFORE_POOL,
    OUTPUT,
    End,
    Head,
    Join,
    MapHead,
    Network,
    OutputLink,
    Size,
    Stage,
    Steps,
    end_word,
)

Letters = Mapping[tuple[object, ...], str]  # of each kind of block


class Station(NamedTuple):
    """A stage, a node or a part of the stem in a drawing.

    Attributes:
        end: Its name as the start of long skips.
        before: Card of its transition.
        card: Card of its operations; None if a stage has no blocks.
        size: Height and width of the join, and of the output.
        join: Long skips that end there: before the card if the stage enlarges, else behind it.
        join_params: Number of trainable parameters in these.
    """

    end: End
    before: Card | None
    card: Card | None
    size: Size
    join: Join | None = None
    join_params: int = 0


def stations(plan: Network, parts: Parts, letters: Letters) -> Iterator[Station]:
    """Yield the stem, the stages and the nodes in the order in which they are computed."""
    cuts = {stage.cut for stage in plan.named.values()}
    if BEFORE_POOL in plan.sources | cuts:
        steps, pooling = plan.stem[:-1], plan.stem[-1:]
        part = measure_steps(steps, parts.stem.entering)
        yield Station(BEFORE_POOL, None, steps_card("stem", steps, part), part.leaving)
        pool = measure_steps(pooling, part.leaving)
        yield Station(0, None, steps_card("pool", pooling, pool), pool.leaving)
    elif plan.stem:
        stem = steps_card("stem", plan.stem, parts.stem)
        yield Station(0, None, stem, parts.stem.leaving)
    for end, _, stage, measured in walk_stages(plan, parts):
        before = _transition_card(end, stage, measured) if stage.transition else None
        card = _blocks_card(end, stage, measured, letters) if stage.blocks else None
        yield Station(end, before, card, measured.leaving, stage.join, measured.join.cost.params)


def _transition_card(end: End, stage: Stage, measured: StageParts) -> Card:
    part = measured.transition
    if stage.enlarges:
        part = part._replace(leaving=measured.join.entering)
    return steps_card(f"to {end_word(end)}", stage.transition, part)


def _blocks_card(end: End, stage: Stage, measured: StageParts, letters: Letters) -> Card:
    depth = len(stage.blocks)
    alike = groupby(letters[block_kind(block)] for block in stage.blocks)
    runs = [f"{len(list(run))} \N{MULTIPLICATION SIGN} ({letter})" for letter, run in alike]
    lines = [", ".join(runs)]
    if any(stage.drop_paths):
        low, high = min(stage.drop_paths), max(stage.drop_paths)
        rates = f"{low:.2g} to {high:.2g}" if low != high else f"{low:.2g}"
        lines.append(f"drop path {rates}")
    cost = total_cost(measured.blocks)
    lines.append(_output(stage.blocks[-1].outputs, measured.blocks[-1].leaving, cost))
    title = f"{end_word(end)}: {depth} {'blocks' if depth > 1 else 'block'}"
    return Card(title, tuple(lines), min(depth, 3) - 1)


def steps_card(title: str, steps: Steps, part: Part) -> Card:
    """Return the card of a chain of operations."""
    output = _output(steps[-1].outputs, part.leaving, part.cost)
    return Card(title, (*chain_lines(steps), output))


def _output(channels: int, size: Size, cost: Cost) -> str:
    return f"{shape_text(channels, size)}, {cost.params:,} parameters"


class Skip(NamedTuple):
    """A long skip in a drawing: where it starts and ends, and its operations."""

    source: End
    target: End
    items: tuple[Item, ...]

    @property
    def places(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Places of its ends from the image to the output."""
        return end_place(self.source), end_place(self.target)


def long_skips(plan: Network, classes: int) -> list[Skip]:
    """Return the long skips in the order of their targets."""
    skips = []
    for end, stage in plan.named.items():
        if stage.join:
            note = LINK_MERGES[stage.join.merge].note
            weighing = (Item(note, FILLS[Kind.OTHER]),) if note else ()
            for link in stage.join.links:
                items = (*map(item_of, link.steps), *weighing)
                skips.append(Skip(link.source, end, items))
    if isinstance(plan.head, MapHead):
        skips += [_output_skip(link, classes) for link in plan.head.links]
    return skips


def _output_skip(link: OutputLink, classes: int) -> Skip:
    if link.is_identity(classes):
        return Skip(link.source, OUTPUT, ())
    return Skip(link.source, OUTPUT, _map_items(1, link.inputs, link.enlarge, classes))


def _map_items(kernel: int, inputs: int, enlarge: int, classes: int) -> tuple[Item, ...]:
    """Return a map and what enlarges it."""
    word = typeset(f"map{kernel} {inputs}->{classes}")
    items: tuple[Item, ...] = (Item(word, FILLS[Kind.CONVOLUTION]),)
    if enlarge > 1:
        items += (Item(f"bilinear x{enlarge}", FILLS[Kind.ENLARGING]),)
    return items


def head_items(head: Head | MapHead, classes: int) -> tuple[Item, ...]:
    """Return the operations of a head behind its steps."""
    if isinstance(head, MapHead):
        return _map_items(head.kernel, head.features, head.enlarge, classes)
    linear = Item(typeset(f"linear {head.features}->{classes}"), FILLS[Kind.CONVOLUTION])
    return (Item("mean", FILLS[Kind.POOLING]), *map(item_of, head.pooled), linear)


def output_text(head: Head | MapHead, classes: int) -> str:
    """Return what a network puts out, in words."""
    if isinstance(head, MapHead):
        return f"{classes:,} values a pixel" if classes > 1 else "1 value a pixel"
    return f"{classes:,} classes" if classes > 1 else "1 class"
