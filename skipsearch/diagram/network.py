"""Drawings of networks as strips from the image to the classes, with long skips."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from skipsearch.anatomy import block_kind
from skipsearch.cost import Cost, Part, Parts, measure_steps, total_cost
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
from skipsearch.kinds import end_place
from skipsearch.merges import ADDED, LINK_MERGES
from skipsearch.operations import Kind
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    OUTPUT,
    End,
    Join,
    MapHead,
    Network,
    OutputLink,
    Size,
    Steps,
)

Letters = Mapping[tuple[object, ...], str]  # of each kind of block


class Station(NamedTuple):
    """A part of the network in its strip.

    Attributes:
        title: Title of its box.
        lines: Text in its box.
        output: Output channels, and output height and width.
        start: End of the long skips that start behind it; None if none can.
        sheets: Number of boxes behind its box.
        join: Long skips that end behind its box.
        join_params: Number of trainable parameters in these.
        stage: Number of the stage where they end.
    """

    title: str
    lines: list[str]
    output: tuple[int, Size]
    start: End | None = None
    sheets: int = 0
    join: Join | None = None
    join_params: int = 0
    stage: int = 0


def _stations(plan: Network, parts: Parts, letters: Letters) -> Iterator[Station]:
    """Yield the stations of the network up to its head."""
    if BEFORE_POOL in plan.sources:
        before, size = plan.stem[:-1], parts.stem.entering
        part = measure_steps(before, size)
        yield _steps_station("stem", before, part, BEFORE_POOL)
        pool = measure_steps(plan.stem[-1:], part.leaving)
        yield _steps_station("pool", plan.stem[-1:], pool, 0)
    elif plan.stem:
        yield _steps_station("stem", plan.stem, parts.stem, 0)
    for number, (stage, measured) in enumerate(zip(plan.stages, parts.stages, strict=True), 1):
        ending = (stage.join, measured.join.cost.params, number)
        if stage.enlarges:
            size = measured.join.entering
            output = stage.transition[-1].outputs, size
            lines = [*chain_lines(stage.transition), _output(*output, measured.transition.cost)]
            start = None if stage.blocks else number
            yield Station(f"to stage {number}", lines, output, start, 0, *ending)
            ending = (None, 0, number)
        elif stage.transition:
            yield _steps_station(f"to stage {number}", stage.transition, measured.transition)
        if not stage.blocks:
            continue
        output = stage.blocks[-1].outputs, measured.blocks[-1].leaving
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
            *ending,
        )
    if plan.head.steps:
        yield _steps_station("head", plan.head.steps, parts.head)


def _steps_station(title: str, steps: Steps, part: Part, start: End | None = None) -> Station:
    output = steps[-1].outputs, part.leaving
    return Station(title, [*chain_lines(steps), _output(*output, part.cost)], output, start)


def _output(channels: int, size: Size, cost: Cost) -> str:
    return f"{shape_text(channels, size)}, {cost.params:,} parameters"


def sketch_network(plan: Network, parts: Parts, letters: Letters, classes: int) -> Sketch:
    """Draw the network from the image to the classes, with the long skips on its right."""
    stations = list(_stations(plan, parts, letters))
    widths = [measure(line, SMALL) for station in stations for line in station.lines]
    column = Column(max(widths) + 2 * PAD)
    column.text("image")
    image = parts.stem.entering
    column.shape = shape_text(plan.in_channels, image)
    spans: dict[End, tuple[float, float]] = {}  # of a join: start of the zone before it, its height
    taps: dict[End, float] = {}
    if IMAGE in plan.sources:
        taps[IMAGE] = column.tap()
    zone = 0.0
    for station in stations:
        column.card(station.title, station.lines, station.sheets)
        if station.join:
            heights = [Carried(_link_items(link.steps)).height for link in station.join.links]
            column.stretch(zone + max(heights) - GAP - RADIUS)
            join = column.mark(LINK_MERGES[station.join.merge].sign)
            spans[station.stage] = (zone, join)
            if station.join_params:
                note = f"links: {station.join_params:,} parameters"
                column.sketch.add(Label(-RADIUS - 4.0, join, note, "right", SMALL))
            size = station.output[1]
            if station.join.outputs != station.join.inputs:
                column.shape = shape_text(station.join.outputs, size)
            column.steps(station.join.after, size, NARROWEST)
        if station.start is not None:
            if station.start in plan.sources:
                taps[station.start] = column.tap()
            zone = column.y
    skips = [
        Skip(link.source, station.stage, Carried(_link_items(link.steps)))
        for station in stations
        if station.join
        for link in station.join.links
    ]
    if isinstance(plan.head, MapHead):
        to_output = [_output_skip(link, classes) for link in plan.head.links]
        _draw_map(column, plan.head, classes)
        if to_output:
            column.stretch(zone + max(skip.carried.height for skip in to_output) - GAP - RADIUS)
            spans[OUTPUT] = (zone, column.mark(ADDED))
        skips += to_output
        column.shape = shape_text(classes, image)
        column.arrow()
        column.text(f"{classes:,} values a pixel" if classes > 1 else "1 value a pixel")
    else:
        column.item(Item("mean", FILLS[Kind.POOLING]), NARROWEST)
        column.steps(plan.head.pooled, Size(1, 1), NARROWEST)
        word = typeset(f"linear {plan.head.features}->{classes}")
        column.item(Item(word, FILLS[Kind.CONVOLUTION]), NARROWEST)
        column.arrow()
        column.text(f"{classes:,} classes" if classes > 1 else "1 class")
    _sketch_links(column.sketch, skips, taps, spans)
    return column.sketch


def _draw_map(column: Column, head: MapHead, classes: int) -> None:
    """Draw the map and what enlarges it."""
    word = typeset(f"map{head.kernel} {head.features}->{classes}")
    column.item(Item(word, FILLS[Kind.CONVOLUTION]), NARROWEST)
    if head.enlarge > 1:
        column.item(Item(f"bilinear x{head.enlarge}", FILLS[Kind.ENLARGING]), NARROWEST)


class Skip(NamedTuple):
    """A long skip in the drawing: where it starts and ends, and what it carries."""

    source: End
    target: End
    carried: Carried

    @property
    def places(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Places of its ends from the image to the output."""
        return end_place(self.source), end_place(self.target)


def _output_skip(link: OutputLink, classes: int) -> Skip:
    if link.is_identity(classes):
        return Skip(link.source, OUTPUT, Carried(IDENTITY))
    items = [Item(typeset(f"map1 {link.inputs}->{classes}"), FILLS[Kind.CONVOLUTION])]
    if link.enlarge > 1:
        items.append(Item(f"bilinear x{link.enlarge}", FILLS[Kind.ENLARGING]))
    return Skip(link.source, OUTPUT, Carried(tuple(items)))


def _sketch_links(
    sketch: Sketch,
    skips: Sequence[Skip],
    taps: Mapping[End, float],
    spans: Mapping[End, tuple[float, float]],
) -> None:
    """Draw long skips in lanes beside the strip, with the shorter ones closer to it.

    The operations of a link are beside its target, where no wire crosses its lane.
    """
    lanes: list[list[Skip]] = []
    for skip in sorted(
        skips, key=lambda skip: (spans[skip.target][1] - taps[skip.source], skip.places)
    ):
        start, end = skip.places
        for lane in lanes:
            if all(end <= other.places[0] or other.places[1] <= start for other in lane):
                lane.append(skip)
                break
        else:
            lanes.append([skip])
    for lane in lanes:
        width = max(skip.carried.width for skip in lane)
        x = sketch.right + BESIDE + width / 2
        for skip in lane:
            zone, join = spans[skip.target]
            tap = taps[skip.source]
            skip.carried.draw(
                sketch, ((0.0, tap), (x, tap)), (zone + join) / 2, ((x, join), (RADIUS, join))
            )
        sketch.right = x + width / 2


def _link_items(steps: Steps) -> tuple[Item, ...]:
    return tuple(map(item_of, steps)) or IDENTITY
