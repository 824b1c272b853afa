"""Networks that enlarge are drawn as a U: every wire leads from where the plan says."""

import re
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from strategies import RELAXED, decoders
from test_diagram import clashes

from skipsearch.anatomy import block_kinds
from skipsearch.classics import CLASSICS
from skipsearch.cost import measure_network
from skipsearch.design import Design
from skipsearch.diagram import draw_diagram
from skipsearch.diagram.look import RADIUS
from skipsearch.diagram.sketch import Box, Label, Mark, Point, Sketch, Wire
from skipsearch.diagram.u_links import fork, pieces
from skipsearch.diagram.u_shape import sketch_u
from skipsearch.plan import BEFORE_POOL, IMAGE, OUTPUT, End, MapHead, Network, Size

DECODERS = [name for name, classic in CLASSICS.items() if classic.design.ups]
FOUR = {"widths": (4, 8, 16, 32), "depths": (1, 1, 1, 1), "ups": 3, "head": "map"}
CASES = {name: CLASSICS[name].design for name in DECODERS} | {
    # Every kind of way: within the encoder and the decoder, across rows, past nodes, to the output.
    "every kind of way": Design(
        layout="conv3-bn + relu",
        depths=(1, 2, 1, 3, 1, 1, 0, 2, 1),
        widths=(4, 8, 8, 8, 8),
        stem="conv3-bn-relu",
        ups=4,
        links=("nested", "x>y", "0>y", "x>2", "1>3", "6>9", "5>8", "1>6", "2.1>9", "1.1>y", "7>y"),
        link_merge="attention",
        head="conv3-map",
    ),
    "a stage beside the image": Design(
        layout="conv3", stem="conv3-pool", links=["x>7", "0>y", "s>7"], **FOUR
    ),
    "two sources of one size": Design(layout="conv3", stem="conv3-pool", links=["0>5"], **FOUR),
    "a classifier": Design(layout="conv3", links=["mirror"], **FOUR | {"head": "mean-dropout"}),
}


def drawn(design: Design, size: int = 32) -> tuple[Network, Sketch]:
    plan = design.plan(3)
    parts = measure_network(plan, Size.of(size), 2)
    letters = dict.fromkeys(block_kinds(plan, parts), "a")
    return plan, sketch_u(plan, parts, letters, 2)


class Reader:
    """Reads a drawing: what is drawn in it, and where wires lead."""

    def __init__(self, sketch: Sketch) -> None:
        self.boxes = [shape for shape in sketch.shapes if isinstance(shape, Box)]
        self.wires = [shape for shape in sketch.shapes if isinstance(shape, Wire)]
        self.joins = [s for s in sketch.shapes if isinstance(s, Mark) and s.sign != "."]
        self.labels = [shape for shape in sketch.shapes if isinstance(shape, Label)]
        self.encoder = next(label.x for label in self.labels if label.text == "image")
        self.titles = {box: self.title(box) for box in self.boxes}
        self.cards = {word: box for box, word in self.titles.items()}

    def title(self, box: Box) -> str:
        """The first line in a box."""
        return next(
            label.text
            for label in self.labels
            if box.left <= label.x <= box.left + box.width
            and box.top <= label.y <= box.top + box.height
        )

    def box_at(self, point: Point) -> Box | None:
        """The box whose edge a wire meets."""
        x, y = point
        found = [
            box
            for box in self.boxes
            if box.left - 0.01 <= x <= box.left + box.width + 0.01
            and box.top - 2.5 * box.sheets - 0.01 <= y <= box.top + box.height + 0.01
        ]
        assert len(found) <= 1
        return found[0] if found else None

    def join_at(self, point: Point) -> Mark | None:
        """The join that a wire meets."""
        near = [j for j in self.joins if abs(j.x - point[0]) + abs(j.y - point[1]) < RADIUS + 0.01]
        return near[0] if near else None

    def wires_to(self, point: Point) -> list[Wire]:
        return [wire for wire in self.wires if distance(wire.points[-1], point) < 0.01]

    def origin(self, wire: Wire) -> tuple[str, list[str]]:
        """The card, text or join from which a wire leads, and the operations on the way."""
        start = wire.points[0]
        before = self.wires_to(start)
        if before:
            assert len(before) == 1, "wires run together without a join"
            return self.origin(before[0])
        join = self.join_at(start)
        if join:
            return self.owner(join), []
        box = self.box_at(start)
        if box is None:
            assert "image" in [label.text for label in self.labels if near_text(label, start)]
            return "image", []
        word = self.titles[box]
        if re.match(r"(to )?(stage|node) |stem|pool|head", word):
            return word, []
        source, words = self.origin(self.into(box))
        behind_join = abs(box.left + box.width / 2 - self.encoder) < 0.01
        return source, [] if behind_join else [*words, word]

    def into(self, box: Box) -> Wire:
        """The wire that enters a box."""
        found = [wire for wire in self.wires if wire.head and self.box_at(wire.points[-1]) == box]
        assert len(found) == 1
        return found[0]

    def owner(self, join: Mark) -> str:
        """The card before a join, along the column."""
        found = [
            wire
            for wire in self.wires
            if self.join_at(wire.points[-1]) == join and abs(wire.points[-1][0] - join.x) < 0.01
        ]
        assert len(found) == 1
        source, words = self.origin(found[0])
        return OUTPUT if any(re.match(r"map|linear", word) for word in words) else source

    def links(self) -> list[tuple[str, str, list[str]]]:
        """The origin, the owner of the join and the operations of each long skip."""
        found = []
        for wire in self.wires:
            join = self.join_at(wire.points[-1])
            if join and abs(wire.points[-1][0] - join.x) > 1:
                source, words = self.origin(wire)
                found.append((source, self.owner(join), words))
        return found


def distance(a: Point, b: Point) -> float:
    return abs(a[0] - b[0]) + abs(a[1] - b[1])


def near_text(label: Label, point: Point) -> bool:
    return abs(label.x - point[0]) < 1 and abs(label.y - point[1]) < 10


def end_of(word: str, plan: Network) -> End:
    """The end that a card shows."""
    named = re.match(r"(?:to )?(?:stage|node) ([s0-9.]+)", word)
    if named:
        return named[1] if "." in named[1] else int(named[1])
    pooled = BEFORE_POOL in plan.sources or BEFORE_POOL in {s.cut for s in plan.stages}
    words: dict[str, End] = {"image": IMAGE, "pool": 0, "stem": BEFORE_POOL if pooled else 0}
    return words.get(word, word)


def check_links(plan: Network, reader: Reader) -> None:
    """Each long skip is drawn once, from its source to its join, with its operations."""
    expected = Counter(
        (link.source, end, len(link.steps) + (stage.join.merge in ("attention", "weighted")))
        for end, stage in plan.named.items()
        if stage.join
        for link in stage.join.links
    )
    if isinstance(plan.head, MapHead):
        expected += Counter(
            (link.source, OUTPUT, 0 if link.is_identity(2) else 1 + (link.enlarge > 1))
            for link in plan.head.links
        )
    found = [(end_of(a, plan), end_of(b, plan), len(words)) for a, b, words in reader.links()]
    assert Counter(found) == expected


def check_reads(plan: Network, reader: Reader) -> None:
    """Each stage that enlarges reads the one before it, and each node the end one level deeper."""
    reads: dict[End, End] = {node.end: node.reads for node in plan.nodes}
    for end, stage in plan.named.items():
        if stage.enlarges:
            box = reader.cards[f"to {'stage' if isinstance(end, int) else 'node'} {end}"]
            before = reads[end] if end in reads else int(end) - 1
            assert end_of(reader.origin(reader.into(box))[0], plan) == before


def check_rows(plan: Network, reader: Reader) -> None:
    """Stages of one size stand at one height: the encoder on the left, the decoder on the right."""
    cards = {end_of(word, plan): box for word, box in reader.cards.items() if ": " in word}
    cards |= {end_of(word, plan): reader.cards[word] for word in {"stem", "pool"} & {*reader.cards}}
    for end, stage in plan.named.items():
        if stage.enlarges and end in cards and stage.cut != IMAGE:
            box, twin = cards[end], cards[stage.cut]
            assert box.top + box.height == pytest.approx(twin.top + twin.height)
            assert box.left > twin.left + twin.width
    texts = {label.text: label for label in reader.labels}
    image = texts["image"]
    output = texts["2 values a pixel" if isinstance(plan.head, MapHead) else "2 classes"]
    assert image.x == min(box.left + box.width / 2 for box in cards.values())
    assert output.x > image.x
    assert output.y == min(label.y for label in reader.labels)
    assert image.y < min(box.top for end, box in cards.items() if not enlarges(plan, end))


def enlarges(plan: Network, end: End) -> bool:
    return end in plan.named and plan.named[end].enlarges


def check_cards(plan: Network, reader: Reader) -> None:
    """Each stage and node is drawn once, with its transition."""
    expected = Counter[str]()
    for end, stage in plan.named.items():
        name = f"{'stage' if isinstance(end, int) else 'node'} {end}"
        depth = len(stage.blocks)
        expected[f"to {name}"] = bool(stage.transition)
        expected[f"{name}: {depth} {'block' if depth == 1 else 'blocks'}"] = bool(depth)
    titles = [word for word in reader.titles.values() if re.search("stage|node", word)]
    assert Counter(titles) == +expected


def legs(wire: Wire) -> list[tuple[Point, Point]]:
    return list(pairwise(wire.points))


def run_together(one: Wire, other: Wire) -> bool:
    """Whether two wires share a part of a line."""
    for (a, b), (c, d) in ((x, y) for x in legs(one) for y in legs(other)):
        for along, across in ((0, 1), (1, 0)):
            flat = {round(p[across], 3) for p in (a, b, c, d)}
            low = max(min(a[along], b[along]), min(c[along], d[along]))
            high = min(max(a[along], b[along]), max(c[along], d[along]))
            if len(flat) == 1 and high - low > 0.01:
                return True
    return False


def check_apart(reader: Reader) -> None:
    """Wires run side by side or cross; only those into one join run together."""
    for one, other in combinations(reader.wires, 2):
        if run_together(one, other):
            assert distance(one.points[-1], other.points[-1]) < 0.01
            assert reader.join_at(one.points[-1])
    for wire in reader.wires:
        for (x0, y0), (x1, y1) in legs(wire):
            assert x0 == pytest.approx(x1) or y0 == pytest.approx(y1)


def check(design: Design, size: int = 32) -> None:
    plan, sketch = drawn(design, size)
    reader = Reader(sketch)
    check_cards(plan, reader)
    check_rows(plan, reader)
    check_reads(plan, reader)
    check_links(plan, reader)
    check_apart(reader)


@pytest.mark.parametrize("name", CASES)
def test_a_decoder_is_drawn_as_a_u(name: str) -> None:
    check(CASES[name])


@settings(RELAXED, max_examples=40)
@given(decoders())
def test_any_decoder_is_drawn_as_a_u(design: Design) -> None:
    check(design, 9)


def test_nothing_lies_on_anything_among_many_long_skips() -> None:
    assert clashes(draw_diagram(CASES["every kind of way"])) == []


@settings(RELAXED, max_examples=8)
@given(decoders())
def test_in_the_drawing_of_any_decoder_nothing_lies_on_anything(design: Design) -> None:
    assert clashes(draw_diagram(design, in_channels=2, image_size=9, classes=1)) == []


def test_stages_of_a_unet_stand_in_pairs() -> None:
    """Ronneberger et al. 2015, arXiv:1505.04597, Fig. 1: four pairs, and one stage below them."""
    _, sketch = drawn(CLASSICS["unet-2015"].design)
    tops = {word: box.top for box, word in Reader(sketch).titles.items()}
    heights = [tops[f"stage {number}: 1 block"] for number in range(1, 10)]
    assert heights[:4] == heights[:4:-1]
    assert heights[:5] == sorted(heights[:5])


def test_links_between_twins_are_straight() -> None:
    _, sketch = drawn(CLASSICS["attention-unet"].design)
    reader = Reader(sketch)
    ends = [reader.join_at(wire.points[-1]) for wire in reader.wires if len(wire.points) == 2]
    level = [w for w in reader.wires if w.points[0][1] == w.points[-1][1] and w.head]
    assert len([join for join in ends if join]) == 8  # each join: a link, and the signal below
    assert sum(reader.join_at(wire.points[-1]) is not None for wire in level) == 4
    assert [words for _, _, words in reader.links()] == [["attention"]] * 4


def test_nodes_stand_in_a_triangle() -> None:
    """Zhou et al. 2018, arXiv:1807.10165, Fig. 1a."""
    _, sketch = drawn(CLASSICS["unetplusplus-resnet-18"].design)
    boxes = {word.partition(":")[0]: box for box, word in Reader(sketch).titles.items()}
    columns = [["node s.1", "node 1.1", "node 2.1"], ["node s.2", "node 1.2"], ["node s.3"]]
    middles = [[boxes[end].left + boxes[end].width / 2 for end in column] for column in columns]
    assert all(len(set(column)) == 1 for column in middles)
    assert [column[0] for column in middles] == sorted(column[0] for column in middles)
    assert boxes["node s.1"].top == boxes["node s.3"].top == boxes["stage 8"].top


def test_the_checks_find_what_is_wrong() -> None:
    # Should a check ever go blind, the tests above would pass on nothing.
    plan, sketch = drawn(CLASSICS["unet-3plus"].design)
    reader = Reader(sketch)
    into = [wire for wire in reader.wires if reader.join_at(wire.points[-1])]
    lane = next(wire for wire in into if len(wire.points) == 3)
    reader.wires.remove(lane)
    with pytest.raises(AssertionError):
        check_links(plan, reader)
    reader.wires += [lane, lane._replace(points=lane.points[:2])]
    with pytest.raises(AssertionError):
        check_apart(reader)
    last = reader.cards.pop("stage 9: 1 block")
    reader.cards["stage 9: 1 block"] = last._replace(top=last.top + 5)
    with pytest.raises(AssertionError):
        check_rows(plan, reader)


def test_paths_from_one_start_fork_where_they_part() -> None:
    down, right = ((0.0, 0.0), (0.0, 9.0)), ((0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (4.0, 8.0))
    assert fork(down, right) == (0.0, 4.0)
    assert fork(right, ((0.0, 0.0), (0.0, 4.0), (7.0, 4.0))) == (4.0, 4.0)
    assert pieces(right, [(0.0, 4.0), (4.0, 4.0)]) == [
        ((0.0, 0.0), (0.0, 4.0)),
        ((0.0, 4.0), (4.0, 4.0)),
        ((4.0, 4.0), (4.0, 8.0)),
    ]
    assert pieces(down, [(0.0, 4.0), (1.0, 4.0)]) == [
        ((0.0, 0.0), (0.0, 4.0)),
        ((0.0, 4.0), (0.0, 9.0)),
    ]
