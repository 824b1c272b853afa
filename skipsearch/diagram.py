"""Designs drawn as figures: the network as a strip, and each kind of block as the papers draw it.

Two steps: what stands where is computed in points (a ``Sketch``), with text measured by its font;
then matplotlib draws it. No state of matplotlib is read or left changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from io import BytesIO
from itertools import groupby
from math import ceil, hypot
from typing import Any, NamedTuple, assert_never

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch, Polygon
from matplotlib.path import Path
from matplotlib.textpath import text_to_path

from skipsearch.anatomy import block_kind, step_word
from skipsearch.cost import block_cost, cost, join_cost, steps_cost
from skipsearch.design import Design
from skipsearch.errors import unknown_word
from skipsearch.layout import ACTIVATIONS, NORMS, OTHERS
from skipsearch.merges import CONCATENATED, LINK_MERGES, MERGES
from skipsearch.plan import Block, Join, Network, Step, Steps

DPI = 150
FONT = "DejaVu Sans"  # matplotlib brings it along, so that every machine draws the same
SIZE, SMALL, TITLE = 7.5, 6.5, 8.0  # of text, in points as all that follows
LINE = 1.45  # lines of text, in sizes
MARGIN = 18.0  # around the figure
GAP, SHORT = 15.0, 11.0  # from one box to the next in a column; on a shortcut
PAD = 6.0  # from a text to the edge of its box
BOX = 16.0  # height of a box of one line
BESIDE = 14.0  # from a column to what stands beside it
RADIUS = 6.5  # of a join
TURN = 5.0  # radius of a wire's corners
NARROWEST = 66.0  # a column
BETWEEN = 34.0  # from one drawing to the next
TITLE_ROOM = 175.0  # what a title may take though its block is narrower
MOST_IN_A_ROW, WIDEST_ROW = 5, 640.0  # drawings of blocks
INK, PALE, MUTED = "#1a1a1a", "#ffffff", "#595959"
CARD = "#f2f2f2"
# Tints of the palette of Okabe & Ito, light enough for black text and unlike each other in grey.
CONVOLUTION, NORM, ACTIVATION, OTHER = "#a9d3ee", "#fdebc0", "#bfe3d4", "#e6dbe8"

STYLE: Any = {  # Any: the names that its type lists differ between releases
    **{k: v for k, v in matplotlib.rcParamsDefault.items() if not k.startswith("backend")},
    "font.sans-serif": [FONT],
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "skipsearch",  # the same design gives the same bytes
}


class Diagram(Figure):
    """A figure of matplotlib that shows itself in a notebook and saves itself reproducibly."""

    def savefig(self, fname: Any, **options: Any) -> None:
        """Write a file, as ``Figure.savefig``; the same design gives the same bytes."""
        undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
        kind = options.get("format") or str(fname).rpartition(".")[2].lower()
        with matplotlib.rc_context(STYLE):
            super().savefig(fname, **{"metadata": undated.get(kind, {}), **options})

    def _repr_png_(self) -> bytes:
        file = BytesIO()
        self.savefig(file, format="png")
        return file.getvalue()


def draw_diagram(
    design: Design, in_channels: int = 3, image_size: int = 32, classes: int = 10
) -> Diagram:
    """Draw a design as a figure: the network on the left, each kind of block on its right.

    Args:
        design: What to draw.
        in_channels: Channels of the images.
        image_size: Their height and width, in pixels.
        classes: Outputs.

    Returns:
        A figure of matplotlib; ``savefig("block.png")`` or ``savefig("block.svg")`` writes it.
    """
    plan = design.plan(in_channels)
    total = cost(design, in_channels, image_size, classes)
    kinds = _kinds(design, in_channels, image_size)
    strip = _sketch_network(plan, kinds, in_channels, image_size, classes)
    placed = [Placed(strip, MARGIN - strip.left, MARGIN - strip.top)]
    placed += _pack(list(kinds.values()), MARGIN + strip.right - strip.left + BETWEEN)
    width = max(each.dx + each.sketch.right for each in placed)
    height = max(each.dy + each.sketch.bottom for each in placed)
    facts = [
        f"design {design.id}",
        f"{total.params:,} parameters",
        f"{total.macs:,} multiply-adds",
        f"input {_shape(in_channels, image_size)}",
    ]
    footer = _sketch_footer(facts, width - MARGIN)
    placed.append(Placed(footer, MARGIN, height + GAP))
    return _render(placed, width + MARGIN, height + GAP + footer.bottom + MARGIN)


# --- what is drawn --------------------------------------------------------------------------------


class Kind(NamedTuple):
    """A kind of block: its letter, the first block of that kind, and where it stands.

    A note says what its layout asks for and stands behind long skips, in the strip.
    """

    letter: str
    where: str
    layout: str
    block: Block
    size: int
    note: str


Kinds = dict[tuple[object, ...], Kind]


def _kinds(design: Design, in_channels: int, image_size: int) -> Kinds:
    """Find the first block of each kind, in order."""
    plan = design.plan(in_channels)
    size = steps_cost(plan.stem, image_size)[3]
    kinds: Kinds = {}
    for number, (stage, fields) in enumerate(zip(plan.stages, design.stages, strict=True), 1):
        size = steps_cost(stage.transition, size)[3]
        for position, block in enumerate(stage.blocks, 1):
            where = f"stage {number}, block {position} of {len(stage.blocks)}"
            last = position == len(stage.blocks)
            moved = [_word(step) for step in stage.join.after] if stage.join and last else []
            note = f"({' - '.join(moved)} behind the long skips)" if moved else ""
            kind = Kind(_letter(len(kinds)), where, str(fields.layout), block, size, note)
            kinds.setdefault(block_kind(block), kind)
            size = block_cost(block, size)[3]
    return kinds


def _letter(index: int) -> str:
    """Count a, b, ... z, aa, ab, ..."""
    before, last = divmod(index, 26)
    return (_letter(before - 1) if before else "") + chr(ord("a") + last)


def _fill(step: Step) -> str:
    if step.op == "conv":
        return CONVOLUTION
    if step.op in NORMS:
        return NORM
    if step.op in ACTIVATIONS:
        return ACTIVATION
    if step.op in (*OTHERS, "pad", "maxpool", "avgpool"):
        return OTHER
    raise unknown_word("operation", step.op)


def _typeset(text: str) -> str:
    """Write arrows, times signs and minus signs as a printer would."""
    text = re.sub(r"(?<=\d)x(?=\d)", "\N{MULTIPLICATION SIGN}", text.replace("->", "→"))
    return re.sub(r"(?<!\S)-(?= ?[\dg])", "\N{MINUS SIGN}", text)


def _shape(channels: int, size: int) -> str:
    return _typeset(f"{channels}x{size}x{size}")


def _word(step: Step) -> str:
    return _typeset(step_word(step))


def _chain_lines(steps: Steps, widest: float = 190.0) -> list[str]:
    """Write a chain of operations, a new line at each convolution and pooling."""
    lines: list[str] = []
    for step in steps:
        word = _word(step)
        longer = f"{lines[-1]} - {word}" if lines else ""
        fresh = step.op in ("conv", "avgpool", "maxpool")
        if longer and not fresh and _measure(longer) <= widest:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


# --- sketches: what stands where ------------------------------------------------------------------


class Label(NamedTuple):
    """A line of text, its middle at ``y``; ``anchor`` says which of its ends stands at ``x``."""

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


Points = tuple[tuple[float, float], ...]


class Wire(NamedTuple):
    """A line through points, with an arrow's head at its end or without."""

    points: Points
    head: bool = True


class Mark(NamedTuple):
    """A circle around a sign, such as ``+``; or ``.``, where a wire leaves another."""

    x: float
    y: float
    sign: str


Shape = Label | Box | Wire | Mark


class Sketch:
    """Shapes in points, y downwards, and the bounds that they fill."""

    def __init__(self) -> None:
        self.shapes: list[Shape] = []
        self.left = self.right = self.top = self.bottom = 0.0

    def add(self, *shapes: Shape) -> None:
        """Add shapes, and widen the bounds."""
        self.shapes += shapes
        for left, top, right, bottom in map(_bounds, shapes):
            self.left, self.right = min(self.left, left), max(self.right, right)
            self.top, self.bottom = min(self.top, top), max(self.bottom, bottom)


class Placed(NamedTuple):
    """A sketch, and where its origin stands on the page."""

    sketch: Sketch
    dx: float
    dy: float


def _bounds(shape: Shape) -> tuple[float, float, float, float]:
    match shape:
        case Label(x, y, text, anchor, size, bold):
            width = _measure(text, size, bold)
            left = x - {"left": 0.0, "center": 0.5, "right": 1.0}[anchor] * width
            return left, y - LINE * size / 2, left + width, y + LINE * size / 2
        case Box(left, top, width, height, _, sheets):
            return left, top - 2.5 * sheets, left + width + 2.5 * sheets, top + height
        case Wire(points):
            xs, ys = zip(*points, strict=True)
            return min(xs), min(ys), max(xs), max(ys)
        case Mark(x, y):
            return x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS


@lru_cache(maxsize=4096)
def _measure(text: str, size: float = SIZE, bold: bool = False) -> float:
    """Return the width of a line of text, in points."""
    font = FontProperties(family=FONT, size=100, weight="bold" if bold else "normal")
    width, _, _ = text_to_path.get_text_width_height_descent(text, font, ismath=False)
    return width * size / 100


def _wrap(parts: Sequence[str], widest: float, size: float, between: str = "") -> list[str]:
    """Join parts into lines no wider than asked, unless a part alone is."""
    lines: list[str] = []
    for part in parts:
        longer = f"{lines[-1]}{between}{part}" if lines else ""
        if longer and _measure(longer.rstrip(), size) <= widest:
            lines[-1] = longer
        else:
            lines.append(part)
    return [line.strip() for line in lines]


class Column:
    """Boxes from top to bottom around x = 0, an arrow from each to the next.

    Attributes:
        sketch: Where all is drawn.
        width: That of its boxes.
        y: The lower end of what has been drawn.
        shape: What is to be written beside the next arrow.
    """

    def __init__(self, width: float) -> None:
        self.sketch = Sketch()
        self.width = width
        self.y = 0.0
        self.shape = ""

    def arrow(self, length: float = GAP, head: bool = True) -> None:
        """Go on downwards, past the shape that is to be written."""
        self.sketch.add(Wire(((0.0, self.y), (0.0, self.y + length)), head))
        if self.shape:
            self.sketch.add(
                Label(4.0, self.y + GAP / 2 - 1.0, self.shape, "left", SMALL, colour=MUTED)
            )
        self.y += length
        self.shape = ""

    def text(self, text: str, size: float = SIZE) -> None:
        """Write a line in the middle."""
        self.sketch.add(Label(0.0, self.y + LINE * size / 2, text, size=size))
        self.y += LINE * size

    def card(self, title: str, lines: Sequence[str], sheets: int = 0) -> None:
        """Draw a box with a title and lines of text."""
        self.arrow(GAP - 2.5 * sheets)
        self.y += 2.5 * sheets
        height = LINE * (SIZE + SMALL * len(lines)) + PAD
        self.sketch.add(Box(-self.width / 2, self.y, self.width, height, CARD, sheets))
        y = self.y + PAD / 2 + LINE * SIZE / 2
        self.sketch.add(Label(0.0, y, title, bold=True))
        y += LINE * (SIZE + SMALL) / 2
        for i, line in enumerate(lines):
            self.sketch.add(Label(0.0, y + LINE * SMALL * i, line, size=SMALL))
        self.y += height

    def item(self, item: Item, width: float) -> None:
        """Draw one operation, in a box of at least this width."""
        self.arrow()
        width = max(width, _measure(item.word) + 2 * PAD)
        _draw_item(self.sketch, item, 0.0, self.y, width)
        self.y += BOX

    def steps(self, steps: Steps, size: int, width: float = 0.0) -> int:
        """Draw operations; return the height and width of what leaves them."""
        for step in steps:
            self.item(_item(step), width or self.width)
            before, size = size, -(-size // step.stride)
            if (step.inputs, before) != (step.outputs, size):
                self.shape = _shape(step.outputs, size)
        return size

    def tap(self) -> float:
        """Let a wire leave to the right; return its height."""
        self.arrow(head=False)
        self.sketch.add(Mark(0.0, self.y, "."))
        return self.y

    def mark(self, sign: str) -> float:
        """Draw a join; return the height of its centre."""
        self.arrow()
        self.sketch.add(Mark(0.0, self.y + RADIUS, sign))
        self.y += 2 * RADIUS
        return self.y - RADIUS

    def stretch(self, y: float) -> None:
        """Go on to a height, if it lies below."""
        if y > self.y:
            self.arrow(y - self.y, head=False)


class Item(NamedTuple):
    """One operation as it is drawn; without a fill it is text alone."""

    word: str
    fill: str = ""


IDENTITY = (Item("identity"),)


def _item(step: Step) -> Item:
    return Item(_word(step), _fill(step))


def _draw_item(sketch: Sketch, item: Item, x: float, top: float, width: float) -> None:
    if item.fill:
        sketch.add(Box(x - width / 2, top, width, BOX, item.fill))
    sketch.add(Label(x, top + BOX / 2, item.word))


class Carried(NamedTuple):
    """What stands on a shortcut or a long skip."""

    items: tuple[Item, ...]

    @property
    def width(self) -> float:
        """That of the widest box, or of the text."""
        pad = PAD if self.items[0].fill else 0.0
        return max(_measure(item.word) for item in self.items) + 2 * pad

    @property
    def height(self) -> float:
        """From the first box to the last, and what leads there and away."""
        return len(self.items) * (BOX + SHORT) + SHORT

    def draw(
        self, sketch: Sketch, start: Points, middle: float, end: Points, head: bool = True
    ) -> None:
        """Draw it along a wire whose first part ends, and whose last begins, at the same x."""
        x = end[0][0]
        top = middle - self.height / 2 + SHORT
        for item in self.items:
            sketch.add(Wire((*start, (x, top)), head=bool(item.fill)))
            _draw_item(sketch, item, x, top, self.width)
            start = ((x, top + BOX),)
            top += BOX + SHORT
        sketch.add(Wire((*start, *end), head))


# --- one block ------------------------------------------------------------------------------------


def _sketch_block(kind: Kind) -> Sketch:
    """Draw a block from x = 0, y = 0 downwards, the shortcut on the right of the branch."""
    block, size = kind.block, kind.size
    shapes = {_shape(block.inputs, size), _shape(block.outputs, -(-size // block.stride))}
    shapes |= {_shape(step.outputs, size) for step in (*block.opening, *block.branch)}
    steps = (*block.opening, *block.branch, *block.after)
    words = [_measure(_word(step)) + 2 * PAD for step in steps]
    beside = [2 * _measure(shape, SMALL) + 14.0 for shape in shapes]
    column = Column(max(NARROWEST, *words, *beside))
    column.text("x")
    column.shape = _shape(block.inputs, size)
    if block.merge is None:
        size = column.steps((*block.opening, *block.branch), size)
    else:
        size = _sketch_join(column, block, size)
    size = column.steps(block.after, size)
    column.shape = ""
    column.arrow()
    column.text(_shape(block.outputs, size), SMALL)
    return column.sketch


def _sketch_join(column: Column, block: Block, size: int) -> int:
    """Draw the branch, the shortcut beside it, and where they join."""
    before, beside = (
        (block.opening, block.branch)
        if block.shares_opening
        else ((), (*block.opening, *block.branch))
    )
    size = column.steps(before, size)
    tap = column.tap()
    size = column.steps(beside, size)
    items = tuple(map(_item, block.shortcut or ()))
    if block.shortcut_dropout:
        items += (Item(f"dropout {block.shortcut_dropout:g}", OTHER),)
    carried = Carried(items or IDENTITY)
    assert block.merge is not None
    merge = MERGES[block.merge]
    of_branch, of_shortcut, note = map(_typeset, merge.weights(block))
    room = max(BESIDE, _measure(of_shortcut, SMALL) + 10.0 if of_shortcut else 0.0)
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
        lines = _wrap(note.split(" "), x + carried.width / 2 - 5.0, SMALL, " ")
        y = column.y
        column.arrow(LINE * SMALL * len(lines) + 2.0, head=False)
        for i, line in enumerate(lines):
            column.sketch.add(Label(5.0, y + LINE * SMALL * (i + 0.5), line, "left", SMALL))
    if merge.appends:
        column.shape = _shape(block.outputs, size)
    return size


# --- the network ----------------------------------------------------------------------------------


class Station(NamedTuple):
    """A part of the network in its strip.

    Attributes:
        title: What it is called.
        lines: What is said of it.
        output: The channels, and the height and width, that leave it.
        stage: The number of a stage, 0 for the stem, None for what no long skip leaves.
        sheets: Boxes behind its box.
        join: The long skips that end behind it.
        join_params: The trainable parameters that these hold.
    """

    title: str
    lines: list[str]
    output: tuple[int, int]
    stage: int | None = None
    sheets: int = 0
    join: Join | None = None
    join_params: int = 0


def _stations(plan: Network, kinds: Kinds, image_size: int) -> Iterator[Station]:
    """Walk through the network as far as its head."""
    params, _, _, size = steps_cost(plan.stem, image_size)
    output = plan.stem[-1].outputs, size
    yield Station("stem", [*_chain_lines(plan.stem), _size(output, params)], output, 0)
    sizes = [size]
    for number, stage in enumerate(plan.stages, 1):
        if stage.transition:
            params, _, _, size = steps_cost(stage.transition, size)
            output = stage.transition[-1].outputs, size
            lines = [*_chain_lines(stage.transition), _size(output, params)]
            yield Station(f"to stage {number}", lines, output)
        params = 0
        for block in stage.blocks:
            counted = block_cost(block, size)
            params, size = params + counted[0], counted[3]
        output = stage.blocks[-1].outputs, size
        letters = groupby(kinds[block_kind(block)].letter for block in stage.blocks)
        runs = [f"{len(list(run))} \N{MULTIPLICATION SIGN} ({letter})" for letter, run in letters]
        lines = [", ".join(runs), _size(output, params)]
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
            join_cost(stage.join, sizes, size)[0] if stage.join else 0,
        )
        sizes.append(size)
    if plan.head:
        params, _, _, size = steps_cost(plan.head, size)
        output = plan.head[-1].outputs, size
        yield Station("head", [*_chain_lines(plan.head), _size(output, params)], output)


def _size(output: tuple[int, int], params: int) -> str:
    return f"{_shape(*output)}, {params:,} parameters"


def _sketch_network(
    plan: Network, kinds: Kinds, in_channels: int, image_size: int, classes: int
) -> Sketch:
    """Draw the network from the image to its classes, and the long skips on its right."""
    stations = list(_stations(plan, kinds, image_size))
    widths = [_measure(line, SMALL) for station in stations for line in station.lines]
    column = Column(max(widths) + 2 * PAD)
    column.text("image")
    column.shape = _shape(in_channels, image_size)
    sources = {link.source for s in stations if s.join for link in s.join.links}
    spans = {}  # of each stage with a join: where the zone before it begins, and its join
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
                column.shape = _shape(station.join.outputs, size)
            column.steps(station.join.after, size, NARROWEST)
        if station.stage in sources:
            taps[station.stage] = column.tap()
        if station.stage is not None:
            zone = column.y
    column.item(Item("mean", OTHER), NARROWEST)
    column.steps(plan.pooled, 1, NARROWEST)
    word = _typeset(f"linear {plan.features}->{classes}")
    column.item(Item(word, CONVOLUTION), NARROWEST)
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
    """Draw long skips in lanes beside the strip, the short ones inside.

    What a link carries stands beside the stage that it ends at, where no wire crosses its lane.
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
    return tuple(map(_item, steps)) or IDENTITY


# --- the page -------------------------------------------------------------------------------------


def _pack(kinds: Sequence[Kind], left: float) -> list[Placed]:
    """Draw kinds of blocks and place them in rows, each beneath its title."""
    sketches = [_sketch_block(kind) for kind in kinds]
    titles = []
    for kind, sketch in zip(kinds, sketches, strict=True):
        parts = re.findall(r"[^-+]+[-+]? ?", kind.layout)
        head = Label(0.0, 0.0, f"({kind.letter}) {kind.where}", "left", TITLE, bold=True)
        room = max(sketch.right - sketch.left, TITLE_ROOM)
        lines = _wrap(parts, room, SMALL)
        texts = [head, *(Label(0.0, 0.0, line, "left", SMALL) for line in lines)]
        lines = _wrap(kind.note.split(), room, SMALL, " ")
        texts += [Label(0.0, 0.0, line, "left", SMALL, colour=MUTED) for line in lines]
        titles.append(texts)
        sketch.right = max(sketch.right, sketch.left + max(_bounds(t)[2] for t in titles[-1]))
    widths = [sketch.right - sketch.left for sketch in sketches]
    columns = _columns(widths)
    placed = []
    top = MARGIN
    for first in range(0, len(kinds), columns):
        row = range(first, min(first + columns, len(kinds)))
        above = LINE * (TITLE + SMALL * (max(len(titles[i]) for i in row) - 1)) + 4.0
        for i in row:
            y = LINE * TITLE / 2 - above
            for title in titles[i]:
                sketches[i].add(title._replace(x=sketches[i].left, y=y))
                y += LINE * (title.size + SMALL) / 2
            dx = left + sum(_widest(widths, columns)[: i - first]) + BETWEEN * (i - first)
            placed.append(Placed(sketches[i], dx - sketches[i].left, top + above))
        top = max(each.dy + each.sketch.bottom for each in placed[first:]) + BETWEEN
    return placed


def _columns(widths: Sequence[float]) -> int:
    """Return how many drawings stand in a row, in rows as even as they can be."""
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
    lines = [(line, INK) for line in _wrap(facts, width, SIZE, " · ")]
    lines += [(line, MUTED) for line in _wrap(said.split(" "), width, SMALL, " ")]
    for i, (line, colour) in enumerate(lines):
        size = SIZE if colour == INK else SMALL
        sketch.add(Label(0.0, LINE * SIZE * (i + 0.5), line, "left", size, colour=colour))
    return sketch


# --- drawing --------------------------------------------------------------------------------------


def _render(placed: Sequence[Placed], width: float, height: float) -> Diagram:
    """Draw sketches with matplotlib; a unit of its axes is a point."""
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
                corner = (left + dx + 2.5 * i, top + dy - 2.5 * i)
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
        y + 0.36 * size,  # the baseline, so that capitals stand in the middle
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
    """Return the point at a corner's radius from it, or half way where that is nearer."""
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
