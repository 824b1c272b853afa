"""Drawings of networks as strips from the image to the classes, with long skips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from skipsearch.anatomy import block_kind
from skipsearch.cost import Cost, Part, Parts, total_cost
from skipsearch.diagram.column import IDENTITY, Carried, Column, Item, item_of
from skipsearch.diagram.lettering import chain_lines, measure, shape_text, typeset
from skipsearch.diagram.look import (
    BESIDE,
    FILLS,
    GAP,
    NARROWEST,
    PAD,
    RADIUS,
    SMALL,
)
from skipsearch.diagram.sketch import Label, Sketch
from skipsearch.merges import LINK_MERGES
from skipsearch.operations import Kind
from skipsearch.plan import Join, Network, Size, Steps

Letters = Mapping[tuple[object, ...], str]  # of each kind of block


class Station(NamedTuple):
    """A part of the network in its strip.

    Attributes:
        title: Title of its box.
        lines: Text in its box.
        output: Output channels, and output height and width.
        stage: Number of a stage; 0 for the stem, None for a part where no long skip starts.
        sheets: Number of boxes behind its box.
        join: Long skips that end after it.
        join_params: Number of trainable parameters in these.
    """

    title: str
    lines: list[str]
    output: tuple[int, Size]
    stage: int | None = None
    sheets: int = 0
    join: Join | None = None
    join_params: int = 0


def _stations(plan: Network, parts: Parts, letters: Letters) -> Iterator[Station]:
    """Yield the stations of the network up to its head."""
    yield _steps_station("stem", plan.stem, parts.stem, 0)
    for number, (stage, measured) in enumerate(zip(plan.stages, parts.stages, strict=True), 1):
        if stage.transition:
            yield _steps_station(f"to stage {number}", stage.transition, measured.transition)
        output = stage.blocks[-1].outputs, measured.join.entering
        alike = groupby(letters[block_kind(block)] for block in stage.blocks)
        runs = [f"{len(list(run))} \N{MULTIPLICATION SIGN} ({letter})" for letter, run in alike]
        lines = [", ".join(runs), _output(*output, total_cost(measured.blocks))]
        if any(stage.drop_paths):
            low, high = min(stage.drop_paths), max(stage.drop_paths)
            rates = f"{low:.2g} to {high:.2g}" if low != high else f"{low:.2g}"
            lines.insert(1, f"drop path {rates}")
        depth = len(stage.blocks)
        yield Station(
            f"stage {number}: {depth} {'blocks' if depth > 1 else 'block'}",
            lines,
            output,
            number,
            min(depth, 3) - 1,
            stage.join,
            measured.join.cost.params,
        )
    if plan.head.steps:
        yield _steps_station("head", plan.head.steps, parts.head)


def _steps_station(title: str, steps: Steps, part: Part, stage: int | None = None) -> Station:
    output = steps[-1].outputs, part.leaving
    return Station(title, [*chain_lines(steps), _output(*output, part.cost)], output, stage)


def _output(channels: int, size: Size, cost: Cost) -> str:
    return f"{shape_text(channels, size)}, {cost.params:,} parameters"


def sketch_network(plan: Network, parts: Parts, letters: Letters, classes: int) -> Sketch:
    """Draw the network from the image to the classes, with the long skips on its right."""
    stations = list(_stations(plan, parts, letters))
    widths = [measure(line, SMALL) for station in stations for line in station.lines]
    column = Column(max(widths) + 2 * PAD)
    column.text("image")
    column.shape = shape_text(plan.stem[0].inputs, parts.stem.entering)
    sources = {link.source for s in stations if s.join for link in s.join.links}
    spans = {}  # of each stage with a join: the start of the zone before it, and its join
    taps = {}
    zone = 0.0
    for station in stations:
        column.card(station.title, station.lines, station.sheets)
        if station.join:
            heights = [Carried(_link_items(link.steps)).height for link in station.join.links]
            column.stretch(zone + max(heights) - GAP - RADIUS)
            join = column.mark(LINK_MERGES[station.join.merge].sign)
            assert station.stage is not None
            spans[station.stage] = (zone, join)
            if station.join_params:
                note = f"links: {station.join_params:,} parameters"
                column.sketch.add(Label(-RADIUS - 4.0, join, note, "right", SMALL))
            size = station.output[1]
            if station.join.outputs != station.join.inputs:
                column.shape = shape_text(station.join.outputs, size)
            column.steps(station.join.after, size, NARROWEST)
        if station.stage in sources:
            taps[station.stage] = column.tap()
        if station.stage is not None:
            zone = column.y
    column.item(Item("mean", FILLS[Kind.POOLING]), NARROWEST)
    column.steps(plan.head.pooled, Size(1, 1), NARROWEST)
    word = typeset(f"linear {plan.head.features}->{classes}")
    column.item(Item(word, FILLS[Kind.CONVOLUTION]), NARROWEST)
    column.arrow()
    column.text(f"{classes:,} classes" if classes > 1 else "1 class")
    _sketch_links(column.sketch, [s for s in stations if s.join], taps, spans)
    return column.sketch


def _sketch_links(
    sketch: Sketch,
    stations: Sequence[Station],
    taps: dict[int, float],
    spans: dict[int, tuple[float, float]],
) -> None:
    """Draw long skips in lanes beside the strip, with the shorter ones closer to it.

    The operations of a link are beside its target stage, where no wire crosses its lane.
    """
    links = [
        (link.source, station.stage, Carried(_link_items(link.steps)))
        for station in stations
        if station.join and station.stage
        for link in station.join.links
    ]
    lanes: list[list[tuple[int, int, Carried]]] = []
    for link in sorted(links, key=lambda link: (link[1] - link[0], link[1])):
        for lane in lanes:
            if all(link[1] <= other[0] or other[1] <= link[0] for other in lane):
                lane.append(link)
                break
        else:
            lanes.append([link])
    for lane in lanes:
        width = max(carried.width for _, _, carried in lane)
        x = sketch.right + BESIDE + width / 2
        for source, target, carried in lane:
            zone, join = spans[target]
            start, end = ((0.0, taps[source]), (x, taps[source])), ((x, join), (RADIUS, join))
            carried.draw(sketch, start, (zone + join) / 2, end)
        sketch.right = x + width / 2


def _link_items(steps: Steps) -> tuple[Item, ...]:
    return tuple(map(item_of, steps)) or IDENTITY
