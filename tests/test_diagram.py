"""Figures of designs: everything of the plan is there, and no text meets another or a line."""

import re
import struct
from functools import lru_cache
from io import BytesIO
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import matplotlib
import pytest
from hypothesis import given, settings
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.patches import Circle, FancyBboxPatch, PathPatch
from matplotlib.transforms import Bbox
from strategies import RELAXED, designs

from skipsearch.anatomy import step_word
from skipsearch.classics import (
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    CLASSICS,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
)
from skipsearch.cli import main
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.diagram import Diagram, draw_diagram
from skipsearch.merges import MERGES
from skipsearch.operations import OPERATIONS
from skipsearch.plan import Head, Network, Step

THREE: dict[str, Any] = {"depths": (2, 2, 2), "widths": (4, 8, 16)}
TIMES = "\N{MULTIPLICATION SIGN}"
PYRAMID = "bn-conv3-bn-relu-conv3-bn +"
INVERTED = "conv1-bn-relu6-dw3-bn-relu6-conv1-bn +"
RESIDUAL_OF_RESIDUAL = ["0>1", "1>2", "2>3", "0>3"]


def variants() -> dict[str, Design]:
    """One design of each kind of picture: what is joined, what is carried, stems, heads, links."""
    found = {
        f"merge {merge}": Design(layout=FULL_PREACTIVATION, merge=merge, **THREE)
        for merge in MERGES
    }
    for shortcut in ("pad", "proj", "proj-all", "avg-proj", "omit"):
        found[f"shortcut {shortcut}"] = Design(layout=ORIGINAL, shortcut=shortcut, **THREE)
    for shortcut in ("pad", "proj", "avg-proj"):
        found[f"links {shortcut}"] = Design(
            layout=ORIGINAL, links=RESIDUAL_OF_RESIDUAL, link_shortcut=shortcut, **THREE
        )
    crossing = ["0>1", "0>2", "0>3", "1>2", "1>3", "2>3"]
    return found | {
        "links concatenated": Design(
            layout="conv3 + bn-relu", links=crossing, link_merge="cat", **THREE
        ),
        "links that cross": Design(layout=PYRAMID, links=["0>2", "1>3"], **THREE),
        "links before a wide operation": Design(
            layout="conv3 + conv3-bn", links=["0>1"], depths=(1,), widths=(1024,), stem_width=512
        ),
        "links into a transition": Design(
            layout=DENSE, merge="cat", links=["0>2", "1>2"], bottleneck_ratio=4, **THREE
        ),
        "plain": Design(layout=PLAIN, **THREE),
        "smallest": Design(layout="conv1", depths=(1,), widths=(1,)),
        "after the join": Design(layout="conv3 + bn-conv1-dw3", merge="cat", **THREE),
        "a shortcut longer than the branch": Design(
            layout="conv3-bn +", shortcut="avg-proj", shortcut_dropout=0.25, **THREE
        ),
        "all factors": Design(
            layout=ORIGINAL,
            shortcut_scale=0.3333333,
            branch_scale=2.123456,
            shortcut_dropout=0.5,
            **THREE,
        ),
        "gate of a short branch": Design(layout="conv3 +", merge="gate", gate_bias=-1.5, **THREE),
        "dual with groups": Design(
            layout=BOTTLENECK_PREACTIVATION,
            merge="dual",
            depths=(3, 4),
            widths=(256, 512),
            growth=(16, 32),
            bottleneck_ratio=0.375,
            groups=32,
            stem="conv7-pool",
        ),
        "mobile, with a head": Design(
            layout=INVERTED,
            shortcut="omit",
            bottleneck_ratio=6,
            head="conv1-bn-relu6-mean-dropout",
            head_width=1280,
            dropout=0.2,
            drop_path=0.2,
            **THREE,
        ),
        "head behind the mean": Design(layout=ORIGINAL, head="mean-conv1-relu6-dropout", **THREE),
        "resnet-d": Design(
            layout=BOTTLENECK,
            depths=(3, 4, 6, 3),
            widths=(256, 512, 1024, 2048),
            stem="conv3-bn-relu-conv3-bn-relu-conv3-pool",
            stem_width=64,
            bottleneck_ratio=0.25,
            shortcut="avg-proj",
        ),
        "many kinds": Design(
            layout=(PLAIN, ORIGINAL, BOTTLENECK, DENSE),
            merge=("add", "weighted", "gate", "cat"),
            depths=(3, 3, 3, 3),
            widths=(16, 32, 64, 128),
            bottleneck_ratio=(1, 1, 0.25, 4),
            links=["0>2", "1>3"],
        ),
        "long words": Design(
            layout="conv7-bn0-relu-se-conv11-gn-silu-scale-dropout + ln-gelu",
            dropout=0.1,
            depths=(100, 100),
            widths=(6400, 12800),
            groups=32,
            bottleneck_ratio=8,
        ),
    }


VARIANTS = variants()
# The classics differ in their depths for the most part: one of each layout and stem is drawn.
ONE_OF_EACH = {
    (classic.design.layout, classic.design.stem, classic.design.groups, classic.design.ups): name
    for name, classic in CLASSICS.items()
}
CASES = {**VARIANTS, **{name: CLASSICS[name].design for name in ONE_OF_EACH.values()}}


@lru_cache(maxsize=64)
def figure_of(name: str) -> Diagram:
    classic = CLASSICS.get(name)
    if classic is None:
        return draw_diagram(CASES[name])
    return draw_diagram(classic.design, classic.in_channels, classic.image_size, classic.classes)


def svg_of(figure: Diagram) -> bytes:
    file = BytesIO()
    figure.savefig(file, format="svg")
    return file.getvalue()


@lru_cache(maxsize=64)
def texts_of(figure: Diagram) -> list[str]:
    """The texts of the SVG, which are text there."""
    root = ElementTree.fromstring(svg_of(figure))
    return ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]


def typeset(word: str) -> str:
    return re.sub(r"(?<=\d)x(?=\d)", TIMES, word.replace("->", "→"))


# --- what the picture says ------------------------------------------------------------------------


def steps_of(plan: Network) -> list[Step]:
    """Every operation that a drawing shows: those of all blocks but for their channels."""
    steps = [*plan.stem, *plan.head.steps]
    steps += plan.head.pooled if isinstance(plan.head, Head) else ()
    for stage in plan.named.values():
        steps += stage.transition
        if stage.join:
            steps += [*stage.join.after, *(s for link in stage.join.links for s in link.steps)]
    return steps


def block_words(plan: Network) -> set[str]:
    """The operations of all blocks, without their channels."""
    words = set()
    for block in (block for stage in plan.named.values() for block in stage.blocks):
        for step in (*block.opening, *block.branch, *(block.shortcut or ()), *block.after):
            words.add(step_word(step).partition(" ")[0])
    return words


@pytest.mark.parametrize("name", CASES)
def test_every_operation_of_the_plan_is_written(name: str) -> None:
    plan = CASES[name].plan(CLASSICS[name].in_channels if name in CLASSICS else 3)
    texts = texts_of(figure_of(name))
    parts = {part for text in texts for part in text.split(" - ")}
    assert {typeset(step_word(step)) for step in steps_of(plan)} <= parts
    assert block_words(plan) <= {part.partition(" ")[0] for part in parts}
    first = plan.stages[0].blocks[0]
    for step in (*first.opening, *first.branch, *(first.shortcut or ())):
        assert typeset(step_word(step)) in texts


@pytest.mark.parametrize("name", CASES)
def test_the_strip_and_the_footer_say_what_it_is(name: str) -> None:
    design = CASES[name]
    classic = CLASSICS.get(name)
    images = (classic.in_channels, classic.image_size, classic.classes) if classic else (3, 32, 10)
    text = "\n".join(texts_of(figure_of(name)))
    total = cost(design, *images)
    shape = typeset(f"{images[0]}x{images[1]}x{images[1]}")
    assert f"design {design.id}" in text
    assert f"{total.params:,} parameters" in text
    assert f"{total.macs:,} multiply-adds" in text
    assert f"input {shape}" in text
    for number, depth in enumerate(design.depths, 1):
        assert (f"stage {number}: {depth} block" in text) == (depth > 0)
        assert f"{'to ' if depth == 0 else ''}stage {number}" in text
    head = design.plan().head
    word = "linear" if isinstance(head, Head) else f"map{head.kernel}"
    assert f"{word} {head.features}→{images[2]}" in text


@pytest.mark.parametrize("name", CASES)
def test_the_parameters_of_the_strip_add_up(name: str) -> None:
    text = "\n".join(texts_of(figure_of(name)))
    told = re.findall(r"(?:, |links: )(\d[\d,]*) parameters", text)
    classic = CLASSICS.get(name)
    channels, classes = (classic.in_channels, classic.classes) if classic else (3, 10)
    head = CASES[name].plan(channels).head
    pooled = head.pooled if isinstance(head, Head) else ()
    weights = head.features * (1 if isinstance(head, Head) else head.kernel**2)
    ending = sum(OPERATIONS[step.op].params(step) for step in pooled) + (weights + 1) * classes
    counted = sum(int(number.replace(",", "")) for number in told) + ending
    assert counted == cost(CASES[name], channels, classes=classes).params


WORDS = {
    "merge cat": ["[,]", "to stage 2"],
    "merge gate": ["g", "1 \N{MINUS SIGN} g", "bias \N{MINUS SIGN}6"],
    "merge shortcut-gate": ["1 \N{MINUS SIGN} g", "g = sigmoid(conv1"],
    "merge weighted": ["a", "b", "a, b learned"],
    "dual with groups": ["[,]", "first 256 added, rest"],
    "all factors": ["0.333333", "2.12346", "dropout 0.5"],
    "shortcut omit": ["(b) stage 2, block 1 of 2"],
    "mobile, with a head": ["drop path 0.033 to 0.067", "drop path 0 to 0.2"],
    "links pad": ["pad 4→16 /4", "(b) stage 1, block 2 of 2", "(relu behind the long skips)"],
    "links concatenated": ["[,]", f"avgpool 4{TIMES}4 /4", "identity"],
    "many kinds": [f"1 {TIMES} (b), 1 {TIMES} (c), 1 {TIMES} (d)", f"3 {TIMES} (h)"],
    "smallest": ["stage 1: 1 block", f"1 {TIMES} (a)"],
}


@pytest.mark.parametrize("name", WORDS)
def test_what_is_special_is_said(name: str) -> None:
    lines = texts_of(figure_of(name))
    for word in WORDS[name]:
        assert any(word == line if len(word) < 4 else word in line for line in lines), word


def test_a_plain_block_has_no_shortcut() -> None:
    texts = texts_of(figure_of("plain"))
    assert "identity" not in texts
    assert not [circle for circle in circles_of(figure_of("plain")) if circle.radius > 2]


def test_depthwise_and_dense_convolutions_are_different_kinds() -> None:
    design = Design(layout=("conv3 +", "dw3 +"), widths=(4, 4), depths=(1, 2))
    texts = texts_of(draw_diagram(design))
    assert {"conv3 4→4", "dw3 4→4"} <= set(texts)


def test_a_link_leaves_its_source_and_joins_behind_its_target() -> None:
    """The wire of 0>2 begins between stem and stage 1, and ends between stage 2 and stage 3."""
    design = Design(layout=PYRAMID, links=["0>2"], depths=(1, 1, 1), widths=(4, 4, 4))
    figure = draw_diagram(design)
    heights = {text.get_text(): text.get_position()[1] for text in figure.axes[0].texts}
    stages = [heights[f"stage {number}: 1 block"] for number in (1, 2, 3)]
    middle = next(t for t in figure.axes[0].texts if t.get_text() == "stem").get_position()[0]
    tap, join = sorted(
        circle.center[1] for circle in circles_of(figure) if abs(circle.center[0] - middle) < 1
    )
    assert heights["stem"] < tap < stages[0]
    assert stages[1] < join < stages[2]


# --- nothing lies on anything ---------------------------------------------------------------------


def circles_of(figure: Diagram) -> list[Circle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]


def boxes_of(figure: Diagram) -> list[Bbox]:
    """The boxes, less those that show as sheets behind another alone."""
    found = [
        patch.get_window_extent()
        for patch in figure.axes[0].patches
        if isinstance(patch, FancyBboxPatch)
    ]
    return [
        box
        for box, behind in zip(found, [*found[1:], None], strict=True)
        if behind is None or abs(box.x0 - behind.x0) > 8 or abs(box.y0 - behind.y0) > 8
    ]


def wires_of(figure: Diagram) -> list[list[tuple[float, float]]]:
    """The corners of every line, in pixels."""
    axes = figure.axes[0]
    return [
        [(x, y) for x, y in axes.transData.transform(patch.get_path().vertices)]
        for patch in axes.patches
        if type(patch) is PathPatch
    ]


def shrunk(box: Bbox, by: float) -> Bbox:
    return Bbox.from_extents(box.x0 + by, box.y0 + by, box.x1 - by, box.y1 - by)


def crosses(wire: list[tuple[float, float]], box: Bbox) -> bool:
    """Whether a line of horizontal and vertical parts, or short oblique ones, meets a box."""
    for (x0, y0), (x1, y1) in pairwise(wire):
        part = Bbox.from_extents(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
        if part.x0 < box.x1 and part.x1 > box.x0 and part.y0 < box.y1 and part.y1 > box.y0:
            return True
    return False


def inside(inner: Bbox, outer: Bbox) -> bool:
    return (
        outer.x0 <= inner.x0
        and inner.x1 <= outer.x1
        and outer.y0 <= inner.y0
        and inner.y1 <= outer.y1
    )


def clashes(figure: Diagram) -> list[str]:
    """Whatever lies where it should not."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [(t.get_text(), t.get_window_extent(renderer)) for t in figure.axes[0].texts]
    boxes, wires = boxes_of(figure), wires_of(figure)
    rings = [c.get_window_extent() for c in circles_of(figure)]
    found = []
    for (word, a), (other, b) in combinations(texts, 2):
        if shrunk(a, 0.5).overlaps(shrunk(b, 0.5)):
            found.append(f"{word!r} overlaps {other!r}")
    for word, text in texts:
        if not inside(text, shrunk(figure.bbox, 5)):
            found.append(f"{word!r} is cut off")
        for box in (*boxes, *rings):
            if box.overlaps(shrunk(text, 0.5)) and not inside(shrunk(text, 0.5), box):
                found.append(f"{word!r} lies on the edge of a box")
        if any(crosses(wire, shrunk(text, 0.5)) for wire in wires):
            found.append(f"{word!r} lies on a line")
    for a, b in combinations(boxes, 2):
        if a.overlaps(b):
            found.append(f"boxes overlap at {a} and {b}")
    for box in boxes:
        if any(crosses(wire, shrunk(box, 2)) for wire in wires):
            found.append(f"a line passes through the box at {box}")
    return found


@pytest.mark.parametrize("name", CASES)
def test_nothing_lies_on_anything_and_nothing_is_cut_off(name: str) -> None:
    assert clashes(figure_of(name)) == []


@settings(RELAXED, max_examples=15)
@given(designs())
def test_any_design_is_drawn_and_nothing_lies_on_anything(design: Design) -> None:
    assert clashes(draw_diagram(design, in_channels=2, image_size=9, classes=1)) == []


def test_the_check_finds_what_lies_on_something() -> None:
    # Should the check ever go blind, the tests above would pass on nothing.
    figure = draw_diagram(VARIANTS["merge add"])
    axes = figure.axes[0]
    text = next(text for text in axes.texts if text.get_text() == "identity")
    x, y = text.get_position()
    text.set_position((x, y + 30))
    assert clashes(figure) == ["'identity' lies on a line"]
    text.set_position((x - 15, y))
    assert "'identity' lies on the edge of a box" in clashes(figure)
    text.set_position((-5, y))
    assert "'identity' is cut off" in clashes(figure)
    text.set_position(axes.texts[0].get_position())
    assert "'image' overlaps 'identity'" in clashes(figure)


# --- files ----------------------------------------------------------------------------------------


def png_size(content: bytes) -> tuple[int, int]:
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_the_same_design_gives_the_same_bytes(kind: str, tmp_path: Path) -> None:
    files = []
    for name in ("a", "b"):
        draw_diagram(VARIANTS["links pad"]).savefig(tmp_path / f"{name}.{kind}")
        files.append((tmp_path / f"{name}.{kind}").read_bytes())
    assert files[0] == files[1]
    other = BytesIO()
    draw_diagram(VARIANTS["links proj"]).savefig(other, format=kind)
    assert other.getvalue() != files[0]


def test_a_png_has_150_pixels_an_inch() -> None:
    figure = figure_of("merge add")
    width, height = figure.get_size_inches()
    shown = figure._repr_png_()  # what a notebook asks for
    assert png_size(shown) == (round(150 * width), round(150 * height))
    assert (width * 150).is_integer()
    assert width < 10


def test_settings_of_the_user_neither_matter_nor_change() -> None:
    design = VARIANTS["merge gate"]
    plain = svg_of(draw_diagram(design))
    odd = {"font.family": "serif", "savefig.bbox": "tight", "svg.fonttype": "path"}
    with matplotlib.rc_context({**odd, "axes.facecolor": "red", "lines.linewidth": 9.0}):
        before = dict(matplotlib.rcParams)
        assert svg_of(draw_diagram(design)) == plain
        assert dict(matplotlib.rcParams) == before


def test_rows_are_even_and_no_wider_than_a_page() -> None:
    figure = figure_of("many kinds")
    titles = [t for t in figure.axes[0].texts if re.match(r"\([a-z]\) stage", t.get_text())]
    rows = [t.get_position()[1] for t in titles]
    assert [rows.count(y) for y in sorted(set(rows))] == [3, 3, 2]
    assert figure.get_size_inches()[0] < 14


# --- the command line -----------------------------------------------------------------------------


def test_show_writes_figures_and_still_draws_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    png, svg = tmp_path / "block.png", tmp_path / "block.svg"
    png.write_text("old")
    layout = "bn-relu-conv3 +"
    assert main(["show", layout, "--png", str(png), "--svg", str(svg), "--classes", "7"]) == 0
    out = capsys.readouterr().out
    assert main(["show", layout, "--classes", "7"]) == 0
    assert out == capsys.readouterr().out + f"wrote {png}\nwrote {svg}\n"
    assert png_size(png.read_bytes())[0] > 300
    assert "7 classes" in svg.read_text(encoding="utf-8")


def test_show_draws_a_classic_with_its_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a file of any name"
    assert main(["show", "ResNet-18", "--svg", str(file)]) == 0
    assert capsys.readouterr().out.startswith("resnet-18: He et al. 2015")
    assert f"input 3{TIMES}224{TIMES}224" in file.read_text(encoding="utf-8")


def test_show_draws_a_design_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "d.yaml").write_text("layout: conv3-bn + relu\nwidths: [8]\ndepths: [1]\n")
    assert main(["show", str(tmp_path / "d.yaml"), "--png", str(tmp_path / "d.png")]) == 0
    assert (tmp_path / "d.png").stat().st_size > 5_000


SPACE = "name: two\naxes: {layout: [conv3, conv3 +]}\n"
REFUSED = {
    "a folder": ("conv3 +", "{tmp}", "{tmp}: Is a directory"),
    "a folder that is not there": (
        "conv3 +",
        "{tmp}/no/block.png",
        "{tmp}/no/block.png: No such file or directory",
    ),
    "no name": ("conv3 +", "", ".: Is a directory"),
    "a space": (
        "{tmp}/space.yaml",
        "{tmp}/block.png",
        "{tmp}/space.yaml: a figure shows one design, and this is a space of many",
    ),
    "a misspelt layout": (
        "conv3-bnn +",
        "{tmp}/block.png",
        "unknown operation 'bnn' in 'conv3-bnn +' (did you mean 'bn'?)",
    ),
}


@pytest.mark.parametrize("option", ["--png", "--svg"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_drawn_or_written_is_one_line(
    case: str, option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "space.yaml").write_text(SPACE)
    what, file, message = (text.format(tmp=tmp_path) for text in REFUSED[case])
    assert main(["show", what, option, file]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == f"skipsearch: error: {message}\n"
    assert not (tmp_path / "block.png").exists()
