"""Design: validation, text forms, and identity - equal networks, and only those, are one design."""

import copy
import dataclasses
import json
import pickle
import re
from collections.abc import Iterator
from contextlib import suppress
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from strategies import NEAR_LAYOUTS, RELAXED, VALUES, designs, near_pairs

from skipsearch.canonical import ID_RULES
from skipsearch.classics import (
    BN_AFTER_ADDITION,
    CLASSICS,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
)
from skipsearch.design import Design
from skipsearch.errors import DesignError, LayoutError
from skipsearch.fields import FIELDS, PER_STAGE, collapse, spread
from skipsearch.layout import Layout
from skipsearch.planning import SHORTCUTS

ORDERS = (
    ORIGINAL,
    BN_AFTER_ADDITION,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
    FULL_PREACTIVATION,
)


def test_a_design_is_frozen_hashable_and_compared_by_value() -> None:
    design = Design(layout=ORIGINAL)
    with pytest.raises(dataclasses.FrozenInstanceError):
        design.depths = (1, 1, 1)
    assert design == Design(layout=ORIGINAL)
    assert len({design, Design(layout=ORIGINAL), Design(layout=PLAIN)}) == 2
    assert pickle.loads(pickle.dumps(design)) == design
    assert copy.deepcopy(design) == design


def test_values_are_stored_in_their_canonical_types() -> None:
    design = Design(
        layout=Layout.parse("conv3+"),
        depths=[1, 2],
        widths=[4, 8],
        stem=" conv3 - bn",
        bottleneck_ratio=2,
        drop_path=0,
        groups=[1, 2],
        head="conv1 - mean",
        links=["0>2", " 0 > 1"],
    )
    assert design.head == "conv1-mean"
    assert design.links == ("0>1", "0>2")
    assert design.replace(links="1>2").links == ("1>2",)
    assert design.layout == "conv3 +"
    assert (design.depths, design.widths, design.groups) == ((1, 2), (4, 8), (1, 2))
    assert design.stem == "conv3-bn"
    assert type(design.bottleneck_ratio) is type(design.drop_path) is float


def test_the_stem_is_as_wide_as_the_first_stage_unless_given() -> None:
    assert Design(layout=ORIGINAL, widths=(24, 32, 64)).stem_width == 24
    assert Design(layout=ORIGINAL, widths=(24, 32, 64), stem_width=16).stem_width == 16


def test_one_value_a_stage_collapses_where_all_agree() -> None:
    one = Design(layout=ORIGINAL, shortcut="pad", merge="add", bottleneck_ratio=0.5, groups=2)
    each = Design(
        layout=(ORIGINAL, ORIGINAL.replace(" ", ""), ORIGINAL),
        shortcut=("pad",) * 3,
        merge=["add"] * 3,
        bottleneck_ratio=(0.5,) * 3,
        groups=(2, 2, 2),
    )
    assert each == one
    mixed = Design(layout=ORIGINAL, shortcut=("pad", "proj", "pad"))
    assert mixed.shortcut == ("pad", "proj", "pad")
    assert [stage.shortcut for stage in mixed.stages] == ["pad", "proj", "pad"]


def test_the_table_of_fields_has_the_names_and_defaults_of_the_design() -> None:
    written = {
        field.name: None if field.default is dataclasses.MISSING else field.default
        for field in dataclasses.fields(Design)
    }
    assert [*written] == [*FIELDS]
    assert written == {name: field.default for name, field in FIELDS.items()}
    assert [type(v) for v in written.values()] == [type(f.default) for f in FIELDS.values()]


@RELAXED
@given(st.lists(st.sampled_from("ab"), min_size=1, max_size=4))
def test_collapse_is_undone_by_spread(values: list[str]) -> None:
    assert spread(collapse(values), len(values)) == tuple(values)


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"depths": 3}, "depths: 3 is not a list of whole numbers, one a stage"),
    ({"depths": ()}, "depths: () is not a list of whole numbers, one a stage"),
    ({"depths": "333"}, "depths: '333' is not a list of whole numbers"),
    ({"depths": (3, 0, 3)}, "depths[1]: 0 is not a whole number from 1 to 100000"),
    ({"depths": (3, 3, -1)}, "depths[2]: -1 is not a whole number"),
    ({"depths": (True, 3, 3)}, "depths[0]: True is not a whole number"),
    ({"depths": (3, 3, 100_001)}, "depths[2]: 100001 is not a whole number"),
    ({"depths": (3, 3)}, "depths has 2 stages and widths 3"),
    ({"widths": (16.0, 32, 64)}, "widths[0]: 16.0 is not a whole number"),
    ({"widths": ("16", 32, 64)}, "widths[0]: '16' is not a whole number"),
    ({"widths": (16, 32, None)}, "widths[2]: None is not a whole number"),
    ({"stem_width": -16}, "stem_width: -16 is not a whole number"),
    ({"stem_width": True}, "stem_width: True is not a whole number"),
    ({"stem_width": 16.0}, "stem_width: 16.0 is not a whole number"),
    ({"stem_width": False}, "stem_width: False is not a whole number"),
    ({"stem_width": None}, "stem_width: None is not a whole number"),
    ({"stem_width": ""}, "stem_width: '' is not a whole number"),
    ({"shortcut": "projection"}, "shortcut: 'projection' is not one of pad, proj, proj-all,"),
    ({"shortcut": "projection"}, "(did you mean 'proj'?)"),
    ({"shortcut": ("pad", "pads", "pad")}, "shortcut[1]: 'pads' is not one of"),
    ({"shortcut": 1}, "shortcut: 1 is not one of"),
    (
        {"shortcut": ("pad", "pad")},
        "shortcut has 2 values for 3 stages; give one value, or one per",
    ),
    ({"merge": "concat"}, "merge: 'concat' is not one of"),
    ({"merge": None}, "merge: None is not one of"),
    ({"merge": ("add",) * 4}, "merge has 4 values for 3 stages"),
    ({"layout": (ORIGINAL,) * 2}, "layout has 2 values for 3 stages"),
    ({"layout": ()}, "layout has 0 values for 3 stages"),
    ({"bottleneck_ratio": 0}, "bottleneck_ratio: 0 is not a number in (0, 64]"),
    ({"bottleneck_ratio": 64.1}, "bottleneck_ratio: 64.1 is not a number in (0, 64]"),
    ({"bottleneck_ratio": float("nan")}, "bottleneck_ratio: nan is not a number"),
    ({"bottleneck_ratio": True}, "bottleneck_ratio: True is not a number"),
    ({"bottleneck_ratio": (0.5, "1", 0.5)}, "bottleneck_ratio[1]: '1' is not a number"),
    ({"bottleneck_ratio": (0.5, 0.5)}, "bottleneck_ratio has 2 values for 3 stages"),
    ({"groups": 0}, "groups: 0 is not a whole number"),
    ({"groups": True}, "groups: True is not a whole number"),
    ({"groups": 2.0}, "groups: 2.0 is not a whole number"),
    ({"groups": (1, 1, False)}, "groups[2]: False is not a whole number"),
    ({"groups": (1, 2)}, "groups has 2 values for 3 stages"),
    (
        {"groups": 3},
        "stage 1: groups 3 does not divide the 16 -> 16 channels of conv3 in 'conv3-bn",
    ),
    ({"groups": (1, 1, 5)}, "stage 3: groups 5 does not divide the 32 -> 64 channels of conv3"),
    ({"compression": 0.0}, "compression: 0.0 is not a number in (0, 1]"),
    ({"compression": 1.01}, "compression: 1.01 is not a number in (0, 1]"),
    ({"drop_path": 1.0}, "drop_path: 1.0 is not a number in [0, 1)"),
    ({"drop_path": -0.1}, "drop_path: -0.1 is not a number in [0, 1)"),
    ({"drop_path": False}, "drop_path: False is not a number in [0, 1)"),
    ({"dropout": "0.1"}, "dropout: '0.1' is not a number in [0, 1)"),
    ({"dropout": 10**400}, "is not a number in [0, 1)"),
    ({"widths": (32, 16, 64), "shortcut": "pad"}, "stage 2: shortcut 'pad' adds zero channels and"),
    ({"widths": (32, 16, 64), "shortcut": "pad"}, "cannot lead from 32 to 16"),
    ({"stem_width": 32, "shortcut": "pad"}, "stage 1: shortcut 'pad'"),
    ({"layout": "dw3-bn +"}, "stage 2: layout 'dw3-bn +' has depthwise convolutions alone"),
    ({"layout": "dw3-bn +"}, "keep their 16 channels, so it cannot lead to width 32"),
    ({"stem": 3}, "stem: 3 is not a text such as 'conv3' or 'conv7-pool'"),
    ({"stem": ""}, "stem: an operation is missing in ''"),
    ({"stem": "conv3--bn"}, "stem: an operation is missing in 'conv3--bn'"),
    ({"stem": "conv3-bnn"}, "stem: unknown operation 'bnn' in 'conv3-bnn' (did you mean 'bn'?)"),
    ({"stem": "conv4"}, "stem: 'conv4' in 'conv4': the kernel of conv is an odd number"),
    ({"stem": "bn-conv3"}, "stem: 'bn-conv3' must open with a dense convolution"),
    ({"stem": "pool"}, "stem: 'pool' must open with a dense convolution"),
    ({"stem": "dw3"}, "stem: 'dw3' must open with a dense convolution"),
    (
        {"stem": "conv3-pool-relu"},
        "stem: 'conv3-pool-relu' must open with a dense convolution; 'pool'",
    ),
    ({"stem": "conv3-pool-pool"}, "'pool' comes last"),
    ({"stem": "conv3-dw3"}, "stem: 'conv3-dw3' takes neither depthwise convolutions nor dropout"),
    ({"stem": "conv3-dropout"}, "stem: 'conv3-dropout' takes neither"),
    ({"head": 3}, "head: 3 is not a text such as 'mean', 'conv1-bn-relu-mean' or"),
    (
        {"head": "conv1-bn"},
        "head: 'mean', the global average pooling, or a map must occur once in",
    ),
    ({"head": "mean-mean"}, "head: 'mean', the global average pooling, or a map must occur once"),
    ({"head": "meen"}, "head: unknown operation 'meen' in 'meen' (did you mean 'mean'?)"),
    ({"head": "dw3-mean"}, "head: 'dw3-mean' takes no depthwise convolution"),
    (
        {"head": "mean-conv3"},
        "head: 'mean-conv3' takes no depthwise convolution, and behind 'mean'",
    ),
    ({"head_width": -1}, "head_width: -1 is not a whole number"),
    ({"head_width": True}, "head_width: True is not a whole number"),
    ({"growth": 0}, "growth: 0 is not a whole number"),
    ({"growth": (1, 2)}, "growth has 2 values for 3 stages"),
    ({"links": 3}, "links: 3 is not a list of texts such as ['1>3']"),
    ({"links": ["1-3"]}, "links[0]: '1-3' is not of the form '1>3', with 0 for the stem"),
    ({"links": ["0>1", 2]}, "links[1]: 2 is not of the form '1>3'"),
    ({"links": ["3>1"]}, "links[0]: '3>1' leads from a stage to itself or back"),
    ({"links": ["2>2"]}, "links[0]: '2>2' leads from a stage to itself or back"),
    ({"links": ["0>1", " 0 > 1"]}, "links[1]: ' 0 > 1' is listed twice"),
    (
        {"links": ["1>4"]},
        "links: '1>4' has an end that is not there; the ends of links are x,",
    ),
    ({"link_merge": "sum"}, "link_merge: 'sum' is not one of add, cat"),
    ({"link_shortcut": "omit"}, "link_shortcut: 'omit' is not one of pad, proj, avg-proj"),
    (
        {"widths": (32, 16, 64), "links": ["1>2"], "link_shortcut": "pad"},
        "stage 2: link_shortcut 'pad' adds zero channels and cannot lead from 32 to 16 (link 1>2)",
    ),
    (
        {"merge": "dual", "growth": 16, "shortcut": "pad"},
        "stage 2: shortcut 'pad' adds zero channels and cannot lead from 96 to 64",
    ),
    ({"stem": "conv3 + relu"}, "stem: unknown operation 'conv3 + relu'"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_a_wrong_value_is_refused_with_its_place(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DesignError, match=re.escape(message)):
        Design(**{"layout": ORIGINAL, **changes})
    with pytest.raises(DesignError, match=re.escape(message)):
        Design(layout=ORIGINAL).replace(**changes)
    with pytest.raises(DesignError, match=re.escape(message)):
        Design.from_dict({"layout": ORIGINAL, **changes})


@pytest.mark.parametrize(
    ("layout", "message"),
    [
        ("conv3-bnn +", "unknown operation 'bnn' in 'conv3-bnn +' (did you mean 'bn'?)"),
        (("conv3", "conv3", "convv3"), "unknown operation 'convv3'"),
        (None, "a layout is a text such as 'conv3-bn + relu', not None"),
        (3, "not 3"),
        (("conv3", None, "conv3"), "not None"),
    ],
)
def test_a_wrong_layout_is_a_layout_error(layout: Any, message: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(message)):
        Design(layout=layout)


def test_depthwise_convolutions_alone_may_keep_the_width() -> None:
    design = Design(layout="dw3-bn +", widths=(16, 16, 16))
    assert {block.outputs for stage in design.plan().stages for block in stage.blocks} == {16}


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    message = "unknown key of a design: 'depth' is not one of layout, merge, depths,"
    for refused in (
        lambda: Design.from_dict({"layout": ORIGINAL, "depth": (3,)}),
        lambda: Design(layout=ORIGINAL).replace(depth=(3,)),
    ):
        with pytest.raises(DesignError, match=re.escape(message)) as caught:
            refused()
        assert str(caught.value).endswith("(did you mean 'depths'?)")


def test_a_search_space_is_refused_with_what_takes_it() -> None:
    with pytest.raises(DesignError, match=r"^t.yaml is a search space; skipsearch search"):
        Design.from_yaml("name: t\naxes: {shortcut: [pad, proj]}\n", "t.yaml")


def test_a_design_needs_a_layout() -> None:
    with pytest.raises(DesignError, match="a design needs a layout"):
        Design.from_dict({"depths": [1]})


def test_replace_changes_what_it_names_and_nothing_else() -> None:
    design = Design(layout=ORIGINAL, shortcut="pad", stem_width=8)
    changed = design.replace(shortcut="proj", depths=[1, 2, 3])
    assert (changed.shortcut, changed.depths) == ("proj", (1, 2, 3))
    assert changed.replace(shortcut="pad", depths=design.depths) == design
    assert design.shortcut == "pad"


@RELAXED
@given(designs())
def test_a_design_survives_dict_yaml_and_json(design: Design) -> None:
    assert Design.from_dict(design.to_dict()) == design
    assert Design.from_yaml(design.to_yaml()) == design
    assert Design.from_json(design.to_json()) == design
    assert list(design.to_dict()) == list(FIELDS)


@pytest.mark.parametrize("value", [1e-5, 2.5e-7, 0.1 + 0.2, 1 / 3])
def test_every_digit_of_a_float_survives_yaml(value: float) -> None:
    design = Design(layout=ORIGINAL, dropout=value, compression=value)
    assert Design.from_yaml(design.to_yaml()) == design


def test_the_yaml_of_a_design_is_a_few_readable_lines() -> None:
    assert Design(
        layout=ORIGINAL, depths=(2, 2, 2), shortcut=("pad", "proj", "proj")
    ).to_yaml() == (
        """\
layout: conv3-bn-relu-conv3-bn + relu
merge: add
depths: [2, 2, 2]
widths: [16, 32, 64]
stem: conv3
stem_width: 16
head: mean
head_width: 0
ups: 0
up: up2
down: stride
links: []
link_merge: add
link_shortcut: proj
shortcut:
- pad
- proj
- proj
bottleneck_ratio: 1.0
groups: 1
growth: 4
compression: 0.5
drop_path: 0.0
dropout: 0.0
shortcut_scale: 1.0
branch_scale: 1.0
shortcut_dropout: 0.0
gate_bias: -6.0
"""
    )


def test_what_is_left_out_of_yaml_has_its_default() -> None:
    assert Design.from_yaml(f"layout: {ORIGINAL}") == Design(layout=ORIGINAL)


def test_load_reads_a_file_and_names_it_in_messages(tmp_path: Path) -> None:
    path = tmp_path / "design.yaml"
    path.write_text(Design(layout=ORIGINAL).to_yaml())
    assert Design.load(path) == Design(layout=ORIGINAL)
    path.write_text("layout: conv3\ngroups: 0\n")
    with pytest.raises(DesignError, match=re.escape(f"{path}: groups: 0 is not")):
        Design.load(path)
    path.write_text("layout: conv3-bnn\n")
    with pytest.raises(LayoutError, match=re.escape(f"{path}: unknown operation 'bnn'")):
        Design.load(path)
    with pytest.raises(DesignError, match=r"missing\.yaml: No such file"):
        Design.load(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object is expected, not '[1]'"),
        ('{"layout": "conv3", "dropout": NaN}', "dropout: nan is not a number"),
        ('{"layout": "conv3", "width": [1]}', "unknown key of a design: 'width'"),
    ],
)
def test_wrong_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DesignError, match=re.escape(message)):
        Design.from_json(text)


# Identity ------------------------------------------------------------------------------------


def _one_stage(**changes: Any) -> Design:
    return Design(**{"layout": "conv3-bn +", "depths": (1,), "widths": (4,), **changes})


def _two_stages(**changes: Any) -> Design:
    return Design(**{"layout": "conv3-bn +", "depths": (1, 1), "widths": (4, 8), **changes})


# Two roads to one network, a reason each. Where Hypothesis found the pair, it is written down here
# so that it is tried on every run.
SAME = {
    "spelling": (_one_stage(), _one_stage(layout=" conv3 -bn+ ")),
    "one value a stage": (_two_stages(), _two_stages(layout=("conv3-bn +",) * 2)),
    "a shortcut where no shape changes": (_one_stage(shortcut="pad"), _one_stage(shortcut="omit")),
    "a shortcut on a plain layout": (
        _two_stages(layout="conv3-bn", shortcut="omit"),
        _two_stages(layout="conv3-bn", shortcut="proj-all"),
    ),
    "a merge on a plain layout": (
        _two_stages(layout="conv3-bn", merge="cat"),
        _two_stages(layout="conv3-bn", merge="add"),
    ),
    "a shortcut beside cat": (
        _two_stages(merge="cat", shortcut="omit"),
        _two_stages(merge="cat", shortcut="proj-all"),
    ),
    "avg-proj that does not stride": (
        _one_stage(stem_width=2, shortcut="avg-proj"),
        _one_stage(stem_width=2, shortcut="proj"),
    ),
    "proj-all of one block that changes the shape": (
        _one_stage(stem_width=2, shortcut="proj-all"),
        _one_stage(stem_width=2, shortcut="proj"),
    ),
    "proj-all in one stage, nothing in another": (
        _two_stages(shortcut=("pad", "proj-all")),
        _two_stages(shortcut=("omit", "proj")),
    ),
    "proj-all of two blocks in one stage, nothing in another": (
        _two_stages(depths=(1, 2), shortcut=("pad", "proj-all")),
        _two_stages(depths=(1, 2), shortcut=("omit", "proj-all")),
    ),
    "omit on a stage of one block": (
        _one_stage(layout="conv3-bn + relu", stem_width=2, shortcut="omit"),
        _one_stage(layout="conv3-bn-relu", stem_width=2),
    ),
    "a ratio with one dense convolution": (_one_stage(bottleneck_ratio=0.5), _one_stage()),
    "ratios that round to one width": (
        _one_stage(layout="conv3-conv3 +", bottleneck_ratio=0.5),
        _one_stage(layout="conv3-conv3 +", bottleneck_ratio=0.51),
    ),
    "groups of 1x1 convolutions": (
        _one_stage(layout="conv1 +", groups=2),
        _one_stage(layout="conv1 +"),
    ),
    "as many groups as channels": (_one_stage(groups=4), _one_stage(layout="dw3-bn +")),
    "as many groups as channels, inside": (
        _one_stage(layout="conv1-bn-conv3-bn-conv1 +", bottleneck_ratio=2.0, groups=8),
        _one_stage(layout="conv1-bn-dw3-bn-conv1 +", bottleneck_ratio=2.0),
    ),
    "a dropout of rate 0": (_one_stage(layout="conv3-dropout-bn +"), _one_stage()),
    "a rate without its dropout": (_one_stage(dropout=0.3), _one_stage()),
    "a drop rate of branches without a join": (
        _one_stage(layout="conv3", drop_path=0.3),
        _one_stage(layout="conv3"),
    ),
    "a compression without a transition": (_one_stage(compression=0.1), _one_stage()),
    "compressions that keep the same channels": (
        _two_stages(merge="cat", compression=0.5),
        _two_stages(merge="cat", compression=0.51),
    ),
    "a stem that says what the layout adds": (
        _one_stage(layout="conv3-bn-relu +", stem="conv3-bn-relu"),
        _one_stage(layout="conv3-bn-relu +", stem="conv3"),
    ),
    "a stem that says what the layout adds, before its pooling": (
        _one_stage(layout="conv3-bn-relu +", stem="conv3-bn-relu-pool"),
        _one_stage(layout="conv3-bn-relu +", stem="conv3-pool"),
    ),
    "a head that says what the layout adds": (
        _one_stage(layout="bn-relu-conv3 +", head="bn-relu-mean"),
        _one_stage(layout="bn-relu-conv3 +"),
    ),
    "a head that says what the layout adds, before its convolution": (
        _one_stage(layout="bn-relu-conv3 +", head="bn-relu-conv1-mean-ln"),
        _one_stage(layout="bn-relu-conv3 +", head="conv1-mean-ln"),
    ),
    "a dropout of rate 0 in the head": (_one_stage(head="dropout-mean-dropout"), _one_stage()),
    "a head width without a convolution": (_one_stage(head_width=8), _one_stage()),
    "a head as wide as what enters it": (
        _one_stage(head="conv1-mean", head_width=4),
        _one_stage(head="conv1-mean"),
    ),
    "links in another order": (
        _two_stages(links=("0>1", "0>2")),
        _two_stages(links=("0>2", "0>1")),
    ),
    "how links join, without one": (_two_stages(link_merge="cat"), _two_stages()),
    "what concatenated links carry": (
        _two_stages(links=("0>2",), link_merge="cat", link_shortcut="pad"),
        _two_stages(links=("0>2",), link_merge="cat"),
    ),
    "what a link carries where no shape changes": (
        _two_stages(links=("0>1",), link_shortcut="pad"),
        _two_stages(links=("0>1",), link_shortcut="avg-proj"),
    ),
    "an average-pooled link that does not stride": (
        _two_stages(links=("0>1",), stem_width=2, link_shortcut="avg-proj"),
        _two_stages(links=("0>1",), stem_width=2),
    ),
    "dropout on a shortcut whose factor is 0": (
        _one_stage(shortcut_scale=0.0, shortcut_dropout=0.5),
        _one_stage(shortcut_scale=0.0),
    ),
    "a shortcut whose factor is 0, and none": (
        _two_stages(layout="conv3-bn + relu", shortcut_scale=0.0, shortcut="pad"),
        _two_stages(layout="conv3-bn-relu"),
    ),
    "a shortcut whose factor is 0 where no shape changes": (
        _one_stage(layout="conv3-bn + relu", depths=(2,), shortcut_scale=0.0, shortcut="omit"),
        _one_stage(layout="conv3-bn-relu", depths=(2,)),
    ),
    "a shortcut whose factor is 0 in a stage that changes no shape": (
        _two_stages(shortcut_scale=0.0),
        _two_stages(layout=("conv3-bn", "conv3-bn +"), shortcut_scale=0.0),
    ),
    "a growth without a dual stage": (_two_stages(growth=3), _two_stages()),
    "growth of a stage that adds": (
        _two_stages(merge=("dual", "add"), growth=(3, 1)),
        _two_stages(merge=("dual", "add"), growth=3),
    ),
    "a dual stage of one block without a shortcut": (
        _one_stage(layout="conv3-bn + relu", merge="dual", shortcut="omit"),
        _one_stage(layout="conv3-bn-relu"),
    ),
    "a stem width said twice": (_one_stage(stem_width=4), _one_stage()),
}


@pytest.mark.parametrize("reason", SAME)
def test_designs_of_one_network_are_one_design(reason: str) -> None:
    one, other = SAME[reason]
    assert one.plan() == other.plan() == one.canonical().plan()
    assert one.canonical() == other.canonical()
    assert one.id == other.id


# What canonical must not confuse: neighbours that build different networks.
DIFFERENT = {
    "where the join stands": (_one_stage(layout="conv3-bn + relu"), _one_stage()),
    "a join at all": (_one_stage(layout="conv3-bn"), _one_stage()),
    "proj-all where no shape changes": (_one_stage(shortcut="proj-all"), _one_stage()),
    "pad and proj": (_two_stages(shortcut="pad"), _two_stages(shortcut="proj")),
    "omit and proj": (_two_stages(shortcut="omit"), _two_stages(shortcut="proj")),
    "avg-proj that strides": (_two_stages(shortcut="avg-proj"), _two_stages(shortcut="proj")),
    "merge": (_one_stage(merge="cat"), _one_stage()),
    "links": (_two_stages(links=("0>2",)), _two_stages()),
    "where links begin": (
        _two_stages(links=("0>2",), link_merge="cat", depths=(1, 2)),
        _two_stages(links=("1>2",), link_merge="cat", depths=(1, 2)),
    ),
    "how links join": (
        _two_stages(links=("0>1",)),
        _two_stages(links=("0>1",), link_merge="cat"),
    ),
    "what links carry": (
        _two_stages(links=("0>2",)),
        _two_stages(links=("0>2",), link_shortcut="avg-proj"),
    ),
    "growth": (_one_stage(merge="dual", growth=1), _one_stage(merge="dual", growth=2)),
    "a head": (_one_stage(head="conv1-mean"), _one_stage()),
    "the width of a head": (
        _one_stage(head="conv1-mean", head_width=8),
        _one_stage(head="conv1-mean"),
    ),
    "before and behind the pooling": (_one_stage(head="bn-mean"), _one_stage(head="mean-bn")),
    "groups": (_one_stage(groups=2), _one_stage()),
    "drop_path": (_one_stage(drop_path=0.1), _one_stage()),
    "a stem that says less than the layout adds": (
        _one_stage(layout="conv3-bn-relu +", stem="conv3-bn"),
        _one_stage(layout="conv3-bn-relu +", stem="conv3"),
    ),
    "a projection whose factor is 0: it has parameters": (
        _two_stages(shortcut_scale=0.0, shortcut=("pad", "proj")),
        _two_stages(layout="conv3-bn"),
    ),
    "a shortcut whose factor is 0, where branches are dropped": (
        _one_stage(shortcut_scale=0.0, drop_path=0.1),
        _one_stage(layout="conv3-bn"),
    ),
    "a shortcut whose factor is 0, and a factor of the branch": (
        _one_stage(shortcut_scale=0.0, branch_scale=0.5),
        _one_stage(layout="conv3-bn"),
    ),
    "a shortcut whose factor is 0, and links before what follows the join": (
        _one_stage(layout="conv3-bn + relu", shortcut_scale=0.0, links=("0>1",)),
        _one_stage(layout="conv3-bn-relu", links=("0>1",)),
    ),
    # Networks that are equal as functions; see Design.canonical.
    "a link over one plain block, and its shortcut": (
        _one_stage(layout="conv3-bn", links=("0>1",)),
        _one_stage(layout="conv3-bn +"),
    ),
    "two plain blocks, and one that repeats their layout": (
        _one_stage(layout="conv3", depths=(2,)),
        _one_stage(layout="conv3-conv3"),
    ),
    "a branch whose factor is 0, whatever is in it": (
        _one_stage(layout="conv3-bn +", branch_scale=0.0),
        _one_stage(layout="conv3-bn-relu +", branch_scale=0.0),
    ),
    "omit on a stage of two blocks": (
        _one_stage(layout="conv3-bn + relu", stem_width=2, depths=(2,), shortcut="omit"),
        _one_stage(layout="conv3-bn-relu", stem_width=2, depths=(2,)),
    ),
}


@pytest.mark.parametrize("reason", DIFFERENT)
def test_designs_of_two_networks_are_two_designs(reason: str) -> None:
    one, other = DIFFERENT[reason]
    assert one.plan() != other.plan()
    assert one.canonical() != other.canonical()
    assert one.id != other.id


@settings(RELAXED, max_examples=300)
@given(near_pairs())
def test_two_designs_are_equal_exactly_where_their_networks_are(
    pair: tuple[Design, Design],
) -> None:
    one, other = pair
    same = one.plan() == other.plan()
    assert (one.canonical() == other.canonical()) == same
    assert (one.id == other.id) == same


@settings(RELAXED, max_examples=200)
@given(st.one_of(designs(), designs(NEAR_LAYOUTS)))
# The stage without a join must not take over the other stage's cat, for its layout has a skip.
@example(
    Design(
        layout=("conv1-conv3-conv1 +", "conv3 + conv3"),
        merge=("cat", "add"),
        shortcut="omit",
        depths=(2, 1),
        widths=(4, 2),
        stem_width=2,
        bottleneck_ratio=2.0,
        groups=1,
    )
)
# The stage whose shortcuts change no shape must not take over the other stage's proj-all.
@example(_two_stages(depths=(1, 2), shortcut=("pad", "proj-all")))
# The norm of a long skip's projection is the same however a plain block is spelt.
@example(_one_stage(layout="conv3 + bn", stem_width=2, shortcut="omit", links=("0>1",)))
# Without its first shortcut a dual stage begins plainly, though no shape changes.
@example(_one_stage(merge="dual", depths=(2,), shortcut="omit"))
@example(_one_stage(layout="conv3 + conv3", merge="dual", shortcut="omit", growth=2))
# The norm of a projection does not depend on the rate of a dropout.
@example(_one_stage(layout="conv3-dropout-bn +", stem_width=2))
def test_canonical_builds_the_same_network_and_is_its_own_canonical(design: Design) -> None:
    canonical = design.canonical()
    assert canonical.plan() == design.plan()
    assert canonical.plan(in_channels=1) == design.plan(in_channels=1)
    assert canonical.canonical() == canonical
    assert canonical.id == design.id


@settings(RELAXED, max_examples=200)
@given(st.data())
def test_a_field_without_effect_changes_nothing(data: st.DataObject) -> None:
    design = data.draw(designs(NEAR_LAYOUTS))
    idle = [name for name in VALUES if not design.has_effect(name)]
    for name in idle:
        other = design.replace(**{name: data.draw(VALUES[name], label=name)})
        assert other.id == design.id


# Without links, a convolution in the head, a dual stage, and stages that enlarge.
UNUSED = ("link_merge", "link_shortcut", "head_width", "growth", "up")
IDLE = ("compression", "gate_bias")  # without dense connectivity and without gates
OF_ADDITION = ("shortcut", "shortcut_scale", "branch_scale", "shortcut_dropout")


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, {"bottleneck_ratio", "compression", "dropout", "gate_bias"}),
        ({"merge": "gate"}, {"bottleneck_ratio", "compression", "dropout", *OF_ADDITION[1:]}),
        (
            {"layout": "conv3-bn"},
            {*IDLE, "merge", "bottleneck_ratio", "dropout", "drop_path", *OF_ADDITION},
        ),
        ({"merge": "cat"}, {"bottleneck_ratio", "dropout", "gate_bias", *OF_ADDITION}),
        ({"layout": "conv1-dropout-dw3-conv1 +"}, {*IDLE, "groups"}),
        ({"layout": "dw3 +"}, {*IDLE, "bottleneck_ratio", "groups", "dropout"}),
        (
            {"layout": ("conv3-conv3 +", "conv3-dropout"), "merge": ("add", "cat")},
            set(IDLE),
        ),
        ({"merge": "dual"}, {*IDLE, "bottleneck_ratio", "dropout", *OF_ADDITION[1:]}),
        (
            {"links": ["0>1"], "head": "conv1-mean-dropout"},
            {*IDLE, "bottleneck_ratio"},
        ),
        (
            {"links": ["0>1"], "link_merge": "cat"},
            {*IDLE, "bottleneck_ratio", "dropout"},
        ),
    ],
)
def test_has_effect(changes: dict[str, Any], idle: set[str]) -> None:
    design = Design(**{"layout": "conv3-bn +", "depths": (1, 1), "widths": (4, 4), **changes})
    used = {"growth"} if "merge" in changes and "dual" in changes["merge"] else set()
    used |= {"link_merge", "link_shortcut"} if "links" in changes else set()
    used -= {"link_shortcut"} if "link_merge" in changes else set()
    used |= {"head_width"} if "head" in changes else set()
    assert {name for name in FIELDS if not design.has_effect(name)} == idle | set(UNUSED) - used


def test_the_five_orders_of_a_block_have_five_ids() -> None:
    assert len({Design(layout=order, shortcut="pad").id for order in ORDERS}) == 5


def test_every_classic_has_its_own_id() -> None:
    assert len({classic.design.id for classic in CLASSICS.values()}) == len(CLASSICS)


# Written down on the day this test was; a study on disk finds its designs by them. They may change
# only with a note that old studies lose their duplicates.
GOLDEN_IDS = {
    "plain-20": "e2d5c6123f4623ec",
    "resnet-20": "c54bae18a322a567",
    "resnet-110": "4838be49e980ec81",
    "preresnet-164": "e41863c27b2932a5",
    "wrn-28-10": "31d98cb8c11854af",
    "densenet-bc-100": "aab115c3a2e70e63",
    "resnet-50": "feebe7ab22e7f76d",
    "resnext-50-32x4d": "9244bd2e871de168",
    "densenet-121": "f3bab03a1b99bfb8",
}


@pytest.mark.parametrize("name", GOLDEN_IDS)
def test_the_ids_of_classics_do_not_change(name: str) -> None:
    assert CLASSICS[name].design.id == GOLDEN_IDS[name]


def odd_designs() -> Iterator[Design]:
    """Hundreds of designs, many of which have fields without effect and long spellings."""
    layouts = (*ORDERS, "conv3-bn-relu-conv3-bn-relu", "conv1-relu-dw3-dropout-conv1 + gelu")
    merges = ("add", "cat", "gate", "shortcut-gate", "weighted", "dual")  # a new one changes no id
    fields: list[dict[str, Any]] = [
        {},
        {"shortcut_scale": 0.0, "shortcut_dropout": 0.1},
        {"compression": 0.499, "gate_bias": -3.0, "groups": 4},
        {"links": ["0>2", "1>2"], "link_shortcut": "avg-proj", "head": "conv1-mean-dropout"},
        {"bottleneck_ratio": [0.25, 1.0], "stem": "conv3-bn-relu", "dropout": 0.1},
    ]
    for layout, merge, shortcut, depths, more in product(
        layouts, merges, SHORTCUTS, ((1, 1), (2, 3)), fields
    ):
        with suppress(DesignError):
            yield Design(
                layout=layout, merge=merge, shortcut=shortcut, depths=depths, widths=(8, 16), **more
            )


def test_a_rule_of_identity_that_changes_has_a_new_number() -> None:
    # Where this fails and the change is meant: raise ID_RULES, and write the digest down here.
    # Records that hold ids of older rules have theirs worked out anew.
    ids = [design.id for design in odd_designs()]
    assert len(ids) > 1000
    digest = blake2b(" ".join(ids).encode(), digest_size=8).hexdigest()
    assert {ID_RULES: digest} == {3: "454e8a0044d827f4"}


def test_the_id_of_a_design_with_no_field_at_its_default_does_not_change() -> None:
    original = "conv1-bn-relu-conv3-dropout-conv1 + relu"
    dense = "bn-relu-conv1-bn-relu-conv3 +"
    design = Design(
        layout=(original, dense, original),
        merge=("add", "cat", "add"),
        depths=(2, 1, 2),
        widths=(8, 16, 32),
        stem="conv5-bn-pool",
        stem_width=4,
        shortcut=("pad", "pad", "avg-proj"),
        bottleneck_ratio=(0.5, 0.25, 1.0),
        groups=(2, 4, 2),
        compression=0.3,
        drop_path=0.1,
        dropout=0.2,
    )
    assert design.canonical() == design
    assert design.id == "11f90d720035ee4d"


def test_an_id_is_sixteen_hexadecimal_digits() -> None:
    assert re.fullmatch("[0-9a-f]{16}", Design(layout=ORIGINAL).id)


@RELAXED
@given(designs())
def test_the_id_survives_the_way_through_yaml_and_a_spelling_per_stage(design: Design) -> None:
    n = len(design.depths)
    spelled = {name: list(spread(getattr(design, name), n)) for name in PER_STAGE}
    spelled["layout"] = [text.replace("-", " - ") for text in spelled["layout"]]
    assert design.replace(**spelled).id == design.id
    assert Design.from_json(json.dumps(json.loads(design.to_json()), indent=3)).id == design.id


@given(designs())
@RELAXED
def test_the_representation_is_python_that_builds_the_same_design(design: Design) -> None:
    assert eval(repr(design), {"Design": Design}) == design


def test_a_notebook_shows_the_fields_that_matter() -> None:
    html = Design(layout="conv3-bn-relu", shortcut="pad")._repr_html_()
    assert "<code>conv3-bn-relu</code>" in html
    assert "<th>shortcut</th>" not in html  # of a plain block it has no effect
    assert "&gt;" in Design(layout="conv3-bn +", links=["0>3"])._repr_html_()
