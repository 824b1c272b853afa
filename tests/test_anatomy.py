"""Anatomy: drawings, the table beneath them, and spaces told as text."""

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import designs

from skipsearch.anatomy import draw_block, draw_design
from skipsearch.classics import (
    BOTTLENECK,
    CLASSICS,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
)
from skipsearch.cost import cost
from skipsearch.design import Design
from skipsearch.errors import SpaceError
from skipsearch.plan import Size
from skipsearch.space import Space, draw_space
from skipsearch.space.description import space_size

# Golden drawings, checked by eye against the rules of construction: what is shared, where the
# stride sits, what the shortcut carries. One channel, 8 x 8 pixels.

EIGHT = Size(8, 8)

IDENTITY = """\
stage 1, block 1: conv3-bn-relu-conv3-bn + relu

  x                       8x8x8
  ├─────────────────────────────────────┐
  conv3 8->8              8x8x8         │
  bn                      8x8x8         │
  relu                    8x8x8         identity
  conv3 8->8              8x8x8         │
  bn                      8x8x8         │
  (+)───────────────────────────────────┘
  relu                    8x8x8
  ↓

         operations                         output  parameters  multiply-adds
stem     conv3 1->8 - bn - relu             8x8x8           88          4,608
stage 1  2 x conv3-bn-relu-conv3-bn + relu  8x8x8        2,368        147,456
head     mean - linear 8->10                10              90             80

design ID: 2,546 parameters, 152,144 multiply-adds, 34,888 activation bytes
for one image of 1x8x8"""

# He et al. 2016, arXiv:1603.05027, appendix: the projection reads the shared pre-activation.
SHARED_OPENING = """\
stage 1, block 1: bn-relu-conv3-bn-relu-conv3 +

  x                       4x8x8
  ├─────────────────────────────────────┐
  bn                      4x8x8         │
  relu                    4x8x8         │
  conv3 4->4              4x8x8         identity
  bn                      4x8x8         │
  relu                    4x8x8         │
  conv3 4->4              4x8x8         │
  (+)───────────────────────────────────┘
  ↓

stage 2, block 1: bn-relu-conv3-bn-relu-conv3 +

  x                       4x8x8
  bn                      4x8x8
  relu                    4x8x8
  ├─────────────────────────────────────┐
  conv3 4->8 /2           8x4x4         │
  bn                      8x4x4         conv1 4->8 /2
  relu                    8x4x4         │
  conv3 8->8              8x4x4         │
  (+)───────────────────────────────────┘
  ↓

         operations                         output  parameters  multiply-adds
stem     conv3 1->4                         4x8x8           36          2,304
stage 1  1 x bn-relu-conv3-bn-relu-conv3 +  4x8x8          304         18,432
stage 2  1 x bn-relu-conv3-bn-relu-conv3 +  8x4x4          920         14,336
head     bn - relu - mean - linear 8->10    10             106             80

design ID: 1,366 parameters, 35,152 multiply-adds, 14,408 activation bytes
for one image of 1x8x8"""

CAT = """\
stage 1, block 1: bn-relu-conv1-bn-relu-conv3 +

  x                       8x8x8
  ├─────────────────────────────────────┐
  bn                      8x8x8         │
  relu                    8x8x8         │
  conv1 8->8              8x8x8         identity
  bn                      8x8x8         │
  relu                    8x8x8         │
  conv3 8->4              4x8x8         │
  [,]───────────────────────────────────┘
                          12x8x8
  ↓

            operations                                output  parameters  multiply-adds
stem        conv3 1->8                                8x8x8           72          4,608
stage 1     1 x bn-relu-conv1-bn-relu-conv3 +         12x8x8         384         22,528
to stage 2  bn - relu - conv1 12->6 - avgpool 2x2 /2  6x4x4           96          4,608
stage 2     1 x bn-relu-conv1-bn-relu-conv3 +         10x4x4         364          5,376
head        bn - relu - mean - linear 10->10          10             130            100

design ID: 1,046 parameters, 37,220 multiply-adds, 29,008 activation bytes
for one image of 1x8x8"""

NO_SKIP = """\
stage 1, block 1: conv3-bn-relu-conv3-bn-relu

  x                       4x8x8
  conv3 4->4              4x8x8
  bn                      4x8x8
  relu                    4x8x8
  conv3 4->4              4x8x8
  bn                      4x8x8
  relu                    4x8x8
  ↓

         operations                       output  parameters  multiply-adds
stem     conv3 1->4 - bn - relu           4x8x8           44          2,304
stage 1  1 x conv3-bn-relu-conv3-bn-relu  4x8x8          304         18,432
stage 2  1 x conv3-bn-relu-conv3-bn-relu  8x4x4          896         13,824
head     mean - linear 8->10              10              90             80

design ID: 1,334 parameters, 34,640 multiply-adds, 12,360 activation bytes
for one image of 1x8x8"""

# Sandler et al. 2018, arXiv:1801.04381, Fig. 4d: no shortcut where the shape changes.
OMITTED = """\
stage 1, block 1: conv1-bn-relu6-dw3-bn-relu6-conv1-bn +

  x                       4x8x8
  ├─────────────────────────────────────┐
  conv1 4->24             24x8x8        │
  bn                      24x8x8        │
  relu6                   24x8x8        │
  dw3 24->24              24x8x8        identity
  bn                      24x8x8        │
  relu6                   24x8x8        │
  conv1 24->4             4x8x8         │
  bn                      4x8x8         │
  (+)───────────────────────────────────┘
  ↓

stage 2, block 1: conv1-bn-relu6-dw3-bn-relu6-conv1-bn +

  x                       4x8x8
  conv1 4->48             48x8x8
  bn                      48x8x8
  relu6                   48x8x8
  dw3 48->48 /2           48x4x4
  bn                      48x4x4
  relu6                   48x4x4
  conv1 48->8             8x4x4
  bn                      8x4x4
  ↓

         operations                                  output  parameters  multiply-adds
stem     conv3 1->4 - bn - relu6                     4x8x8           44          2,304
stage 1  1 x conv1-bn-relu6-dw3-bn-relu6-conv1-bn +  4x8x8          512         26,112
stage 2  2 x conv1-bn-relu6-dw3-bn-relu6-conv1-bn +  8x4x4        2,624         44,544
head     mean - linear 8->10                         10              90             80

design ID: 3,270 parameters, 73,040 multiply-adds, 110,152 activation bytes
for one image of 1x8x8"""

GROUPS = """\
stage 1, block 1: conv1-bn-relu-conv3-bn-relu-conv1-bn + relu

  x                       8x8x8
  ├─────────────────────────────────────┐
  conv1 8->8              8x8x8         │
  bn                      8x8x8         │
  relu                    8x8x8         │
  conv3 8->8 groups 4     8x8x8         conv1 8->16
  bn                      8x8x8         bn
  relu                    8x8x8         │
  conv1 8->16             16x8x8        │
  bn                      16x8x8        │
  (+)───────────────────────────────────┘
  relu                    16x8x8
  ↓

         operations                                       output  parameters  multiply-adds
stem     conv3 1->8 - bn - relu                           8x8x8           88          4,608
stage 1  1 x conv1-bn-relu-conv3-bn-relu-conv1-bn + relu  16x8x8         560         29,696
head     mean - linear 16->10                             10             170            160

design ID: 818 parameters, 34,464 multiply-adds, 43,112 activation bytes
for one image of 1x8x8"""

TWO = {"depths": (1, 1), "widths": (4, 8)}
DRAWINGS: dict[str, tuple[Design, str]] = {
    "original, identity": (Design(layout=ORIGINAL, depths=(2,), widths=(8,)), IDENTITY),
    "full pre-activation": (Design(layout=FULL_PREACTIVATION, **TWO), SHARED_OPENING),
    "cat": (
        Design(
            layout=DENSE,
            merge="cat",
            depths=(1, 1),
            widths=(4, 4),
            stem_width=8,
            bottleneck_ratio=2,
        ),
        CAT,
    ),
    "plain": (Design(layout=PLAIN, **TWO), NO_SKIP),
    "omit": (
        Design(
            layout="conv1-bn-relu6-dw3-bn-relu6-conv1-bn +",
            shortcut="omit",
            depths=(1, 2),
            widths=(4, 8),
            bottleneck_ratio=6,
        ),
        OMITTED,
    ),
    "bottleneck with groups": (
        Design(
            layout=BOTTLENECK,
            depths=(1,),
            widths=(16,),
            stem_width=8,
            bottleneck_ratio=0.5,
            groups=4,
        ),
        GROUPS,
    ),
}


@pytest.mark.parametrize("name", DRAWINGS)
def test_a_drawing_is_the_golden_one(name: str) -> None:
    design, golden = DRAWINGS[name]
    drawn = draw_design(design, in_channels=1, image_size=8)
    assert drawn == golden.replace("design ID", f"design {design.id}")


BESIDE = {
    "pad": ["│", "pad 4->8 /2", "│"],
    "proj": ["│", "conv1 4->8 /2", "│"],
    "avg-proj": ["avgpool 2x2 /2", "conv1 4->8", "│"],
}


@pytest.mark.parametrize("shortcut", BESIDE)
def test_the_shortcut_stands_beside_the_branch(shortcut: str) -> None:
    design = Design(layout="conv3-relu-scale +", shortcut=shortcut, **TWO)
    lines = draw_block(design.plan(1).stages[1].blocks[0], EIGHT).splitlines()
    assert [line[40:] for line in lines[2:5]] == BESIDE[shortcut]


def test_a_shortcut_longer_than_the_branch_is_drawn_whole() -> None:
    design = Design(layout="conv3-bn + relu", shortcut="avg-proj", **TWO)
    lines = draw_block(design.plan(1).stages[1].blocks[0], EIGHT).splitlines()
    assert [(line[:26].strip(), line[40:]) for line in lines[2:5]] == [
        ("conv3 4->8 /2", "avgpool 2x2 /2"),
        ("bn", "conv1 4->8"),
        ("│", "bn"),
    ]


def test_every_kind_of_block_is_drawn_once() -> None:
    design = Design(
        layout=(PLAIN, ORIGINAL, ORIGINAL), depths=(3, 3, 3), widths=(4, 8, 16), stem_width=4
    )
    drawn = re.findall(r"^stage (\d), block (\d): (.*)$", draw_design(design), re.MULTILINE)
    assert drawn == [("1", "1", PLAIN), ("2", "1", ORIGINAL), ("2", "2", ORIGINAL)]


def test_dense_grouped_and_depthwise_convolutions_are_different_kinds() -> None:
    design = Design(
        layout=("conv3 +", "conv3 +", "dw3 +"), groups=(1, 2, 1), depths=(1, 1, 1), widths=(4, 4, 4)
    )
    text = draw_design(design.replace(shortcut="pad"))
    for word in ("  conv3 4->4  ", "  conv3 4->4 /2 groups 2  ", "  dw3 4->4 /2  "):
        assert word in text


def test_what_stands_after_the_join_is_drawn_with_the_joined_shape() -> None:
    design = Design(layout="conv3 + bn-conv1", merge="cat", depths=(1,), widths=(4,))
    lines = draw_block(design.plan(1).stages[0].blocks[0], EIGHT).splitlines()
    assert [line.split() for line in lines[-4:]] == [
        ["8x8x8"],
        ["bn", "8x8x8"],
        ["conv1", "8->8", "8x8x8"],
        ["↓"],
    ]


def test_a_dual_block_says_what_is_added() -> None:
    design = Design(layout="conv3 +", merge="dual", depths=(1,), widths=(4,), growth=3)
    lines = draw_block(design.plan(1).stages[0].blocks[0], EIGHT).splitlines()
    assert lines[-3].endswith("┘  first 4 added, rest concatenated")
    assert lines[-3].startswith("  [,]")
    assert lines[-2].split() == ["13x8x8"]


@pytest.mark.parametrize(
    ("merge", "words"),
    [
        (
            "add",
            ["(+) stem (identity) - relu", "(+) stem (conv1 4->8 /2 - bn), stage 1 (conv1 4->8 /2"],
        ),
        (
            "cat",
            ["[,] stem (identity) - relu", "[,] stem (avgpool 2x2 /2), stage 1 (avgpool 2x2 /2)"],
        ),
    ],
)
def test_long_skips_stand_behind_their_stage(merge: str, words: list[str]) -> None:
    design = Design(layout=ORIGINAL, links=["0>1", "0>2", "1>2"], link_merge=merge, **TWO)
    rows = {row[0]: row for row in rows_of(draw_design(design))}
    assert list(rows) == ["stem", "stage 1", "links to 1", "stage 2", "links to 2", "head"]
    for number, start in enumerate(words, 1):
        assert rows[f"links to {number}"][1].startswith(start)
    assert rows["links to 2"][2] == ("8x16x16" if merge == "add" else "20x16x16")


def test_the_head_is_drawn_on_both_sides_of_its_pooling() -> None:
    design = Design(layout=ORIGINAL, head="conv1-bn-mean-ln", head_width=9, **TWO)
    head = rows_of(draw_design(design))[-1]
    assert head[1] == "conv1 8->9 - bn - mean - ln - linear 9->10"


# --- the table, read back ------------------------------------------------------------------------


def rows_of(drawing: str) -> list[tuple[str, str, str, int, int]]:
    """The rows of the table: name, operations, output, parameters, multiply-adds."""
    lines = drawing.splitlines()
    start = next(i for i, line in enumerate(lines) if line.lstrip().startswith("operations"))
    rows = []
    for line in lines[start + 1 :]:
        if not line:
            break
        name, operations, output, params, macs = re.split(" {2,}", line)
        rows.append((name, operations, output, number(params), number(macs)))
    return rows


def number(text: str) -> int:
    assert re.fullmatch(r"\d{1,3}(,\d{3})*", text)
    return int(text.replace(",", ""))


def check_table(design: Design, **images: Any) -> None:
    drawing = draw_design(design, **images)
    rows = rows_of(drawing)
    total = cost(design, **images)
    assert sum(row[3] for row in rows) == total.params
    assert sum(row[4] for row in rows) == total.macs
    stages = [row for row in rows if row[0].startswith("stage")]
    assert [row[1].partition(" x ")[0] for row in stages] == [str(d) for d in design.depths if d]
    assert drawing.endswith(
        f"design {design.id}: {total.params:,} parameters, {total.macs:,} multiply-adds,"
        f" {total.activation_bytes:,} activation bytes\n"
        f"for one image of {images['in_channels']}x{images['image_size']}x{images['image_size']}"
    )


@pytest.mark.parametrize("name", CLASSICS)
def test_a_classic_is_drawn_and_its_rows_add_up(name: str) -> None:
    classic = CLASSICS[name]
    check_table(
        classic.design,
        in_channels=classic.in_channels,
        image_size=classic.image_size,
        classes=classic.classes,
    )


@settings(max_examples=50, deadline=None)
@given(designs())
def test_any_design_is_drawn_and_its_rows_add_up(design: Design) -> None:
    check_table(design, in_channels=2, image_size=9, classes=3)


@pytest.mark.parametrize("name", CLASSICS)
def test_no_word_of_a_classic_runs_into_the_next_column(name: str) -> None:
    classic = CLASSICS[name]
    drawing = draw_design(classic.design, classic.in_channels, classic.image_size)
    shapes = [line for line in drawing.splitlines() if re.match(r"  \w.*\dx\d+x\d", line)]
    assert shapes
    # A word, perhaps with its channels, stride and groups; blanks; a shape; what the shortcut does.
    word = r"  \w+( \d+->\d+)?( /\d)?( groups \d+)? +\d+x\d+x\d+( +\S.*)?"
    assert [line for line in shapes if not re.fullmatch(word, line)] == []


# --- spaces --------------------------------------------------------------------------------------

VALUES: dict[str, Any] = {
    "name": "few",
    "source": "He et al. 2016",
    "base": {"layout": ORIGINAL, "widths": [4, 8]},
    "recipe": {"batch_size": 64},
    "axes": {
        "depths": [[1, 1], [2, 2]],
        "shortcut": ["pad", "proj"],
        "drop_path": {"low": 0.0, "high": 0.5, "step": 0.25},
    },
    "constraints": ["params <= 1e5", "macs > 1"],
}


def test_a_space_is_told_whole() -> None:
    assert (
        draw_space(Space.from_dict(VALUES))
        == """\
few: He et al. 2016

base   layout: conv3-bn-relu-conv3-bn + relu
base   widths: [4, 8]
recipe batch_size: 64
axis   depths:
         - [1, 1]
         - [2, 2]
axis   shortcut:
         - pad
         - proj
axis   drop_path:
         low 0.0, high 0.5, step 0.25
must   params <= 100000
must   macs > 1

12 points: 12 distinct networks within the constraints, 12 distinct trainings"""
    )


def test_a_free_layout_is_drawn_with_its_slots_and_what_they_can_hold() -> None:
    free = {"convs": ["conv3", "dw3"], "free": ["bn", "relu"]}
    drawn = draw_space(sized({"layout[1]": free, "depths[0]": {"low": 1, "high": 2}}))
    assert (
        """\
axis   layout[1]:
         [before]-conv3-[between1]-dw3-[before_join] + [after_join]
         in each of the brackets: nothing, bn, relu, bn-relu, relu-bn
axis   depths[0]:
         low 1, high 2, step 1
"""
        in drawn
    )
    assert drawn.splitlines()[-1].startswith("1,250 points: 1,250 distinct networks")


def test_a_space_without_source_has_its_name_alone() -> None:
    space = Space.from_yaml("name: bare\naxes: {layout: [conv3, conv3 +]}")
    assert draw_space(space).splitlines()[:2] == ["bare", ""]


def sized(axes: dict[str, Any], **more: Any) -> Space:
    return Space.from_dict({"name": "s", "base": {"layout": ORIGINAL}, "axes": axes, **more})


def test_the_size_tells_points_networks_and_trainings_apart() -> None:
    # Three groups do not divide the 16 channels of the first stage.
    axes = {"groups": [1, 2, 3], "recipe.peak_lr": [0.1, 0.2]}
    assert space_size(sized(axes)) == (
        "6 points: 2 distinct networks within the constraints, 4 distinct trainings"
    )


def test_an_endless_space_says_so() -> None:
    axes = {"shortcut": ["pad"], "drop_path": {"low": 0, "high": 0.5}}
    assert space_size(sized(axes)) == "endless: at least one axis is continuous"
    assert draw_space(sized(axes)).endswith("endless: at least one axis is continuous")


def test_a_huge_space_is_not_listed() -> None:
    steps = {"low": 0, "high": 0.875, "step": 0.125}
    axes = {
        "drop_path": steps,
        "recipe.momentum": steps,
        "recipe.label_smoothing": steps,
        "recipe.batch_size": {"low": 1, "high": 20},
    }
    assert space_size(sized(axes)) == (
        "10,240 points; too many to list the distinct networks among them"
    )
    axes["recipe.batch_size"] = {"low": 1, "high": 2}
    assert space_size(sized(axes)).startswith("1,024 points: 8 distinct networks")


def test_an_empty_space_is_an_error() -> None:
    space = sized({"shortcut": ["pad", "proj"]}, constraints=["macs > 1", "params <= 10"])
    message = "^s: the space is empty: no design meets macs > 1, params <= 10$"
    for tell in (space_size, draw_space):
        with pytest.raises(SpaceError, match=message):
            tell(space)


def test_the_size_of_a_space_depends_on_the_images() -> None:
    design = Design(layout=ORIGINAL)
    bound = cost(design, image_size=8).macs
    space = sized({"shortcut": ["proj"]}, constraints=[f"macs <= {bound}"])
    assert "1 distinct network" in space_size(replace(space, image_size=8))
    with pytest.raises(SpaceError, match="the space is empty"):
        space_size(space)
