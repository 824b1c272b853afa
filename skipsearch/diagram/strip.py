"""Drawings of networks as strips from the image to the output, with long skips beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from skipsearch.cost import Parts
from skipsearch.diagram.column import IDENTITY, Card, Carried, Column
from skipsearch.diagram.lettering import measure, shape_text
from skipsearch.diagram.look import BESIDE, GAP, NARROWEST, PAD, RADIUS, SMALL
from skipsearch.diagram.sketch import Label, Sketch
from skipsearch.diagram.stations import (
    Letters,
    Skip,
    Station,
    head_items,
    long_skips,
    output_text,
    stations,
    steps_card,
)
from skipsearch.merges import ADDED, LINK_MERGES
from skipsearch.plan import IMAGE, OUTPUT, End, Head, MapHead, Network, Size


def sketch_strip(plan: Network, parts: Parts, letters: Letters, classes: int) -> Sketch:
    """Draw a network without stages that enlarge, with the long skips on its right."""
    stops = list(stations(plan, parts, letters))
    head = steps_card("head", plan.head.steps, parts.head) if plan.head.steps else None
    column = Column(_width([card for stop in stops for card in (stop.before, stop.card)] + [head]))
    column.text("image")
    image = parts.stem.entering
    column.shape = shape_text(plan.in_channels, image)
    spans: dict[End, tuple[float, float]] = {}  # of a join: start of the zone before it, its height
    taps: dict[End, float] = {}
    if IMAGE in plan.sources:
        taps[IMAGE] = column.tap()
    zone = 0.0
    skips = long_skips(plan, classes)
    for stop in stops:
        for card in filter(None, (stop.before, stop.card)):
            column.card(card)
        if stop.join:
            _draw_join(column, stop, zone, _highest(skips, stop.end), spans)
        if stop.end in plan.sources:
            taps[stop.end] = column.tap()
        zone = column.y
    if head:
        column.card(head)
    if isinstance(plan.head, MapHead):
        for item in head_items(plan.head, classes):
            column.item(item, NARROWEST)
        if plan.head.links:
            column.stretch(zone + _highest(skips, OUTPUT) - GAP - RADIUS)
            spans[OUTPUT] = (zone, column.mark(ADDED))
        column.shape = shape_text(classes, image)
    else:
        _draw_classifier(column, plan.head, classes)
    column.arrow()
    column.text(output_text(plan.head, classes))
    _sketch_links(column.sketch, skips, taps, spans)
    return column.sketch


def _width(cards: Sequence[Card | None]) -> float:
    return max(measure(line, SMALL) for card in cards if card for line in card.lines) + 2 * PAD


def _highest(skips: Sequence[Skip], target: End) -> float:
    return max(_carried(skip).height for skip in skips if skip.target == target)


def _carried(skip: Skip) -> Carried:
    return Carried(skip.items or IDENTITY)


def _draw_join(
    column: Column,
    stop: Station,
    zone: float,
    highest: float,
    spans: dict[End, tuple[float, float]],
) -> None:
    """Draw the join of the long skips that end behind a stage, below the room for the highest."""
    assert stop.join
    column.stretch(zone + highest - GAP - RADIUS)
    join = column.mark(LINK_MERGES[stop.join.merge].sign)
    spans[stop.end] = (zone, join)
    if stop.join_params:
        note = f"links: {stop.join_params:,} parameters"
        column.sketch.add(Label(-RADIUS - 4.0, join, note, "right", SMALL))
    if stop.join.outputs != stop.join.inputs:
        column.shape = shape_text(stop.join.outputs, stop.size)
    column.steps(stop.join.after, stop.size, NARROWEST)


def _draw_classifier(column: Column, head: Head, classes: int) -> None:
    """Draw the global average pooling, what follows it, and the linear layer."""
    mean, *_, linear = head_items(head, classes)
    column.item(mean, NARROWEST)
    column.steps(head.pooled, Size(1, 1), NARROWEST)
    column.item(linear, NARROWEST)


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
        width = max(_carried(skip).width for skip in lane)
        x = sketch.right + BESIDE + width / 2
        for skip in lane:
            zone, join = spans[skip.target]
            tap = taps[skip.source]
            _carried(skip).draw(
                sketch, ((0.0, tap), (x, tap)), (zone + join) / 2, ((x, join), (RADIUS, join))
            )
        sketch.right = x + width / 2
