"""The plan: the four rules that complete a layout, each against shapes written by hand."""

from math import prod
from typing import Any

import pytest
from hypothesis import given, settings
from strategies import RELAXED, designs

from skipsearch.classics import (
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
)
from skipsearch.design import Design
from skipsearch.layout import Layout
from skipsearch.plan import Block, Network, Size, Step, size_after, sized
from skipsearch.planning.ends import complete_stem, head_tokens, stem_ending
from skipsearch.planning.shortcuts import projection_norm


def conv(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> Step:
    return Step("conv", inputs, outputs, kernel, stride, groups)


def plain(channels: int, *ops: str) -> tuple[Step, ...]:
    return tuple(Step(op, channels, channels) for op in ops)


def convolutions(block: Block) -> list[Step]:
    return [step for step in block.branch if step.op == "conv"]


def block_of(layout: str, stage: int = 1, number: int = 0, **changes: Any) -> Block:
    """A block of a network of widths 8 and 16; the first of stage 2 changes the shape."""
    values = {"layout": layout, "depths": (2, 2), "widths": (8, 16), **changes}
    return Design(**values).plan().stages[stage].blocks[number]


# He et al. 2015, arXiv:1512.03385, Table 1, conv3_1 and conv3_2 of ResNet-50, option B.
def test_a_bottleneck_with_projection() -> None:
    design = Design(
        layout=BOTTLENECK,
        depths=(1, 2),
        widths=(256, 512),
        stem="conv7-pool",
        stem_width=64,
        bottleneck_ratio=0.25,
    )
    plan = design.plan()
    assert plan.stem == (
        conv(3, 64, 7, 2),
        *plain(64, "bn", "relu"),
        Step("maxpool", 64, 64, 3, 2),
    )
    first, second = plan.stages[1].blocks
    assert first == Block(
        opening=(),
        branch=(
            conv(256, 128),
            *plain(128, "bn", "relu"),
            conv(128, 128, 3, 2),
            *plain(128, "bn", "relu"),
            conv(128, 512),
            *plain(512, "bn"),
        ),
        shortcut=(conv(256, 512, 1, 2), *plain(512, "bn")),
        shares_opening=True,
        merge="add",
        after=plain(512, "relu"),
        inputs=256,
        outputs=512,
        stride=2,
    )
    assert second.shortcut == ()
    assert not second.shares_opening
    assert (second.inputs, second.outputs, second.stride) == (512, 512, 1)
    assert plan.head.steps == ()
    assert plan.head.features == 512


# --- widths ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "ratio", "groups", "shapes"),
    [
        ("conv3-conv3 +", 0.5, 1, [(8, 8, 1), (8, 16, 1)]),
        ("conv3-conv3 +", 0.5, 4, [(8, 8, 4), (8, 16, 4)]),
        # Only kernels larger than 1 are grouped (Xie et al. 2017, arXiv:1611.05431, Fig. 3c).
        ("conv1-conv3-conv1 +", 0.5, 4, [(8, 8, 1), (8, 8, 4), (8, 16, 1)]),
        # MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381, Table 1), expansion 6.
        ("conv1-dw3-conv1 +", 6.0, 1, [(8, 96, 1), (96, 96, 96), (96, 16, 1)]),
        # ConvNeXt (Liu et al. 2022, arXiv:2201.03545, Fig. 4): the depthwise one comes first.
        ("dw7-conv1-conv1 +", 4.0, 1, [(8, 8, 8), (8, 64, 1), (64, 16, 1)]),
        ("conv1-dw3 +", 4.0, 1, [(8, 16, 1), (16, 16, 16)]),
        ("conv3 +", 0.5, 1, [(8, 16, 1)]),
        ("conv1-conv1-conv1-conv1 +", 0.25, 1, [(8, 4, 1), (4, 4, 1), (4, 4, 1), (4, 16, 1)]),
        ("conv1-conv1 +", 0.001, 1, [(8, 1, 1), (1, 16, 1)]),
        ("conv1-conv1 +", 0.3, 1, [(8, 5, 1), (5, 16, 1)]),  # 4.8 is rounded
    ],
)
def test_widths(layout: str, ratio: float, groups: int, shapes: list[tuple[int, int, int]]) -> None:
    block = block_of(layout, bottleneck_ratio=ratio, groups=groups)
    assert [(s.inputs, s.outputs, s.groups) for s in convolutions(block)] == shapes


def test_a_convolution_after_the_join_keeps_the_joined_channels() -> None:
    block = block_of("conv3 + bn-conv3-dw5", stage=0, merge="cat", groups=4)
    assert block.after == (*plain(16, "bn"), conv(16, 16, 3), conv(16, 16, 5, 1, 16))


def test_cat_adds_the_width_of_every_block() -> None:
    # Huang et al. 2017, arXiv:1608.06993, section 3: k0 + k x (l - 1) channels enter layer l.
    design = Design(layout=DENSE, merge="cat", depths=(4,), widths=(12,), stem_width=24)
    assert [block.inputs for block in design.plan().stages[0].blocks] == [24, 36, 48, 60]
    assert design.plan().head.features == 72


# --- strides --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "strides"),
    [
        ("conv3-conv3 +", [2, 1]),
        ("conv1-conv3-conv1 +", [1, 2, 1]),
        ("conv1-dw3-conv1 +", [1, 2, 1]),
        ("dw7-conv1-conv1 +", [2, 1, 1]),
        ("conv1-conv5-conv3 +", [1, 2, 1]),
        ("conv1-conv1 +", [2, 1]),  # no kernel larger than 1: the first
    ],
)
def test_the_stride_sits_in_the_first_kernel_larger_than_1(layout: str, strides: list[int]) -> None:
    assert [step.stride for step in convolutions(block_of(layout))] == strides
    for stage, number in ((0, 0), (0, 1), (1, 1)):
        steps = convolutions(block_of(layout, stage, number))
        assert {step.stride for step in steps} == {1}


# --- projections ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "norm"),
    [
        ("conv3-bn-relu-conv3-bn + relu", ("bn",)),
        ("bn-relu-conv3-bn-relu-conv3 +", ()),
        ("conv3-bn-relu-conv3 + bn-relu", ()),
        ("conv3-gn +", ("gn",)),
        ("conv3-ln-relu +", ("ln",)),
        ("conv3-bn-relu-conv3-bn0 + relu", ("bn",)),  # a shortcut does not start at zero
        ("conv3-relu-bn +", ()),
        ("conv3-bn-relu-conv1 +", ()),
    ],
)
def test_a_projection_is_normalised_as_the_last_convolution_is(
    layout: str, norm: tuple[str, ...]
) -> None:
    block = block_of(layout)
    assert block.shortcut == (conv(8, 16, 1, 2), *plain(16, *norm))
    assert block.shares_opening
    assert projection_norm(Layout.parse(layout).branch) == norm


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_a_dropout_before_the_last_norm_hides_it_from_no_projection(rate: float) -> None:
    # The same shortcut whatever the rate: an axis over dropout must not change the projection.
    block = block_of("conv3-dropout-bn +", dropout=rate)
    assert block.shortcut == (conv(8, 16, 1, 2), *plain(16, "bn"))


@pytest.mark.parametrize(
    ("shortcut", "changing", "keeping"),
    [
        ("pad", (Step("pad", 8, 16, 1, 2),), ()),
        ("proj", (conv(8, 16, 1, 2),), ()),
        ("proj-all", (conv(8, 16, 1, 2),), (conv(16, 16),)),
        # He et al. 2019, arXiv:1812.01187, Fig. 2c.
        ("avg-proj", (Step("avgpool", 8, 8, 2, 2), conv(8, 16)), ()),
        ("omit", None, ()),
    ],
)
def test_shortcuts(
    shortcut: str, changing: tuple[Step, ...] | None, keeping: tuple[Step, ...]
) -> None:
    first, second = (block_of(FULL_PREACTIVATION, 1, i, shortcut=shortcut) for i in range(2))
    assert first.shortcut == changing
    assert first.merge == (None if changing is None else "add")
    assert second.shortcut == keeping
    assert second.merge == "add"
    # Identity and padding carry the untouched signal (He et al. 2016, arXiv:1603.05027, eq. 1).
    assert first.shares_opening == any(step.op == "conv" for step in changing or ())
    assert second.shares_opening == (keeping != ())


def test_avg_proj_pools_only_where_it_strides() -> None:
    block = block_of(ORIGINAL, stage=0, shortcut="avg-proj", stem_width=4)
    assert block.shortcut == (conv(4, 8), *plain(8, "bn"))


@pytest.mark.parametrize("layout", ["conv3-bn-relu", "bn-relu-conv3"])
def test_a_plain_block_has_no_shortcut(layout: str) -> None:
    block = block_of(layout, shortcut="proj-all", merge="cat")
    assert (block.shortcut, block.merge, block.after) == (None, None, ())


# --- stem and head --------------------------------------------------------------------------------

STEM_AND_HEAD = [
    ("conv3-bn-relu-conv3-bn + relu", ("bn", "relu"), ()),
    ("conv3-bn-relu-conv3 + bn-relu", ("bn", "relu"), ()),
    ("relu-conv3-bn-relu-conv3-bn +", ("bn",), ("relu",)),
    ("bn-relu-conv3-bn-relu-conv3 +", (), ("bn", "relu")),
    ("bn-conv3-bn-relu-conv3-bn +", ("relu",), ("bn",)),
    ("conv3-relu +", ("relu",), ()),
    ("conv3-bn +", ("bn",), ()),
    ("conv3 +", (), ()),
    ("conv3 + ln", ("ln",), ()),
    ("dw7-ln-conv1-gelu-conv1-scale +", ("ln", "gelu"), ()),
    ("conv1-bn0-relu6 +", ("bn", "relu6"), ()),
    ("bn0-relu-conv3 +", (), ("bn", "relu")),
    ("relu-scale-conv3-dropout +", (), ("relu",)),
    ("gn-silu-dropout-conv3 +", (), ("gn", "silu")),
]


@pytest.mark.parametrize(("layout", "ending", "head"), STEM_AND_HEAD)
def test_stem_and_head_complete_the_block(
    layout: str, ending: tuple[str, ...], head: tuple[str, ...]
) -> None:
    parsed = Layout.parse(layout)
    assert stem_ending(parsed) == ending
    assert head_tokens(parsed) == head
    plan = Design(layout=layout, depths=(1,), widths=(8,), dropout=0.1).plan()
    assert plan.stem == (conv(3, 8, 3), *plain(8, *ending))
    assert plan.head.steps == plain(8, *head)


def test_stem_and_head_belong_to_the_first_and_the_last_stage() -> None:
    design = Design(layout=(FULL_PREACTIVATION, ORIGINAL), depths=(1, 1), widths=(8, 8))
    assert design.plan().stem == (conv(3, 8, 3),)
    assert design.plan().head.steps == ()
    design = design.replace(layout=(ORIGINAL, FULL_PREACTIVATION))
    assert design.plan().stem == (conv(3, 8, 3), *plain(8, "bn", "relu"))
    assert design.plan().head.steps == plain(8, "bn", "relu")


@pytest.mark.parametrize(
    ("stem", "complete"),
    [
        (("conv3",), ("conv3", "bn", "relu")),
        (("conv7", "pool"), ("conv7", "bn", "relu", "pool")),
        (("conv3", "bn"), ("conv3", "bn")),  # what the user wrote behind it stays as it is
        (("conv3", "bn", "pool"), ("conv3", "bn", "pool")),
        (("conv3", "gn", "conv3"), ("conv3", "gn", "conv3", "bn", "relu")),
    ],
)
def test_a_stem_is_completed_before_its_pooling(
    stem: tuple[str, ...], complete: tuple[str, ...]
) -> None:
    assert complete_stem(stem, Layout.parse(ORIGINAL)) == complete


def test_a_deep_stem_is_half_as_wide_before_its_last_convolution() -> None:
    # He et al. 2019, arXiv:1812.01187, Fig. 2b: 32, 32, 64 channels, the first with stride 2.
    design = Design(
        layout=ORIGINAL, widths=(64, 64, 64), stem="conv3-bn-relu-conv3-bn-relu-conv3-pool"
    )
    assert design.plan().stem == (
        conv(3, 32, 3, 2),
        *plain(32, "bn", "relu"),
        conv(32, 32, 3),
        *plain(32, "bn", "relu"),
        conv(32, 64, 3),
        *plain(64, "bn", "relu"),
        Step("maxpool", 64, 64, 3, 2),
    )


def test_only_the_stem_reads_the_images() -> None:
    design = Design(layout=ORIGINAL)
    assert design.plan(in_channels=1).stem[0] == conv(1, 16, 3)
    assert design.plan(in_channels=1)[2:] == design.plan()[2:]


# Transitions, drop rates -----------------------------------------------------------------------


@pytest.mark.parametrize(("compression", "kept"), [(0.5, 36), (0.3, 21), (1.0, 72), (0.001, 1)])
def test_a_transition_leads_to_a_stage_that_concatenates(compression: float, kept: int) -> None:
    # Huang et al. 2017, arXiv:1608.06993, section 3, "Compression": floor(theta x m) channels.
    design = Design(
        layout=DENSE,
        merge="cat",
        depths=(4, 1),
        widths=(12, 12),
        stem_width=24,
        compression=compression,
    )
    first, second = design.plan().stages
    assert first.transition == ()
    assert second.transition == (
        *plain(72, "bn", "relu"),
        conv(72, kept),
        Step("avgpool", kept, kept, 2, 2),
    )
    assert (second.blocks[0].inputs, second.blocks[0].stride) == (kept, 1)


def test_a_transition_ends_one_layout_and_begins_the_next() -> None:
    design = Design(
        layout=("relu-conv3 +", "conv3-gn-silu +"),
        merge=("add", "cat"),
        depths=(1, 1),
        widths=(8, 8),
    )
    assert design.plan().stages[1].transition == (
        *plain(8, "relu"),
        conv(8, 4),
        *plain(4, "gn", "silu"),
        Step("avgpool", 4, 4, 2, 2),
    )


def test_a_stage_that_adds_needs_no_transition_even_behind_one_that_concatenates() -> None:
    design = Design(layout=DENSE, merge=("cat", "add"), depths=(2, 1), widths=(8, 8))
    second = design.plan().stages[1]
    assert second.transition == ()
    assert (second.blocks[0].inputs, second.blocks[0].stride) == (24, 2)


def test_the_drop_rate_rises_linearly_to_the_last_block() -> None:
    # Huang et al. 2016, arXiv:1603.09382, section 3, equation 4: p_l = l / L x p_L.
    design = Design(layout=ORIGINAL, depths=(2, 2), widths=(8, 16), drop_path=0.4)
    rates = [rate for stage in design.plan().stages for rate in stage.drop_paths]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_block_without_a_shortcut_never_drops_its_branch() -> None:
    design = Design(layout=ORIGINAL, depths=(2, 2), widths=(8, 16), drop_path=0.4, shortcut="omit")
    rates = [rate for stage in design.plan().stages for rate in stage.drop_paths]
    assert rates == pytest.approx([0.1, 0.2, 0.0, 0.4])


def test_dropout_stands_in_the_plan_at_its_rate_and_not_at_all_at_0() -> None:
    steps = block_of("conv3-dropout-conv3 +", dropout=0.3).branch
    assert [(step.op, step.rate) for step in steps] == [("conv", 0), ("dropout", 0.3), ("conv", 0)]
    assert [step.op for step in block_of("conv3-dropout-conv3 +").branch] == ["conv", "conv"]


# Published arithmetic --------------------------------------------------------------------------


def weights(steps: tuple[Step, ...]) -> int:
    return sum(s.outputs * s.inputs // s.groups * s.kernel**2 for s in steps if s.op == "conv")


def test_the_bottleneck_arithmetic_of_he_2015() -> None:
    # He et al. 2015, arXiv:1512.03385, Fig. 5, at 256 channels: two 3x3 convolutions have
    # 2 x 9 x 256 x 256 = 1,179,648 weights; 1x1, 3x3, 1x1 through 64 channels have 69,632.
    wide = Design(layout=ORIGINAL, depths=(2,), widths=(256,)).plan()
    narrow = Design(layout=BOTTLENECK, depths=(2,), widths=(256,), bottleneck_ratio=0.25).plan()
    assert weights(wide.stages[0].blocks[1].branch) == 1_179_648
    assert weights(narrow.stages[0].blocks[1].branch) == 69_632


def test_a_dual_stage_adds_its_width_and_concatenates_its_growth() -> None:
    # Chen et al. 2017, arXiv:1707.01629, Table 1: DPN-92 (32x3d), stage conv2: 256 channels, + 16;
    # the projection leads to 256 + 2 x 16 (the authors' code), and three blocks leave 256 + 5 x 16.
    design = Design(
        layout=BOTTLENECK_PREACTIVATION,
        merge="dual",
        depths=(3,),
        widths=(256,),
        stem="conv7-bn-relu-pool",
        stem_width=64,
        bottleneck_ratio=96 / 256,
        groups=32,
        growth=16,
    )
    first, second, third = design.plan().stages[0].blocks
    assert first.shortcut == (conv(64, 288),)
    assert [step.outputs for step in convolutions(first)] == [96, 96, 272]
    assert (first.outputs, second.outputs, third.outputs) == (304, 320, 336)
    assert second.shortcut == third.shortcut == ()
    assert not second.shares_opening
    assert [block.growth for block in (first, second, third)] == [16, 16, 16]


def test_a_dual_stage_without_a_first_shortcut_begins_with_a_plain_block() -> None:
    design = Design(layout="conv3-bn + relu", merge="dual", shortcut="omit", growth=3)
    first, second = design.plan().stages[1].blocks[:2]
    assert (first.merge, first.growth, first.outputs) == (None, 0, 32)
    assert (second.merge, second.growth, second.outputs) == ("dual", 3, 35)


@pytest.mark.parametrize(
    ("merge", "shortcut", "steps"),
    [
        ("add", "proj", (conv(16, 64, stride=4), *plain(64, "bn"))),
        ("add", "avg-proj", (Step("avgpool", 16, 16, 4, 4), conv(16, 64), *plain(64, "bn"))),
        ("add", "pad", (Step("pad", 16, 64, 1, 4),)),
        ("cat", "proj", (Step("avgpool", 16, 16, 4, 4),)),
    ],
)
def test_a_link_is_resampled_to_fit(merge: str, shortcut: str, steps: tuple[Step, ...]) -> None:
    design = Design(layout=ORIGINAL, links=["0>3"], link_merge=merge, link_shortcut=shortcut)
    *others, last = design.plan().stages
    assert [stage.join for stage in others] == [None, None]
    assert last.join is not None
    (link,) = last.join.links
    assert (link.source, link.steps) == (0, steps)
    assert (last.join.inputs, last.join.outputs) == (64, 80 if merge == "cat" else 64)
    # What stands after the join stands behind the link, in the last block of this stage alone.
    assert last.join.after == plain(last.outputs, "relu")
    assert last.blocks[-1].after == ()
    assert last.blocks[0].after == plain(64, "relu")


def test_a_link_over_the_first_stage_is_the_identity() -> None:
    # Residual-of-residual, Zhang et al. 2016, arXiv:1608.02908, Fig. 1.
    links = ["0>1", "1>2", "2>3", "0>3"]
    plan = Design(layout=FULL_PREACTIVATION, links=links).plan()
    joins = [stage.join for stage in plan.stages]
    carried = [[(link.source, link.steps) for link in join.links] for join in joins if join]
    assert carried == [
        [(0, ())],
        [(1, (conv(16, 32, stride=2),))],
        [(0, (conv(16, 64, stride=4),)), (2, (conv(32, 64, stride=2),))],
    ]


@pytest.mark.parametrize(
    ("layout", "head", "before", "behind"),
    [
        (ORIGINAL, "mean", "", ""),
        (FULL_PREACTIVATION, "mean", "bn relu", ""),
        (FULL_PREACTIVATION, "mean-ln", "bn relu", "ln"),
        (FULL_PREACTIVATION, "bn-mean", "bn", ""),
        (FULL_PREACTIVATION, "se-mean", "bn relu se", ""),
        ("dw7-ln-conv1-gelu-conv1-scale +", "mean-ln", "", "ln"),
    ],
)
def test_a_head_is_completed_before_its_pooling(
    layout: str, head: str, before: str, behind: str
) -> None:
    plan = Design(layout=layout, head=head).plan()
    assert plan.head.steps == plain(64, *before.split())
    assert plan.head.pooled == plain(64, *behind.split())
    assert plan.head.features == 64


def test_a_head_of_convolutions_is_as_wide_as_asked() -> None:
    # Sandler et al. 2018, arXiv:1801.04381, Table 2, last rows: conv2d 1x1 to 1280, pooling.
    design = Design(layout=ORIGINAL, head="conv1-bn-relu6-mean-dropout", head_width=1280)
    plan = design.replace(dropout=0.2).plan()
    assert plan.head.steps == (conv(64, 1280), *plain(1280, "bn", "relu6"))
    assert plan.head.pooled == (Step("dropout", 1280, 1280, rate=0.2),)
    assert plan.head.features == 1280
    assert design.replace(head="conv3-mean-conv1", head_width=0).plan().head.features == 64


# Properties ------------------------------------------------------------------------------------


def chains(network: Network) -> list[tuple[tuple[Step, ...], int, int, int]]:
    """Every chain of steps with the channels that enter and leave, and its stride."""
    found = []
    for stage in network.stages:
        for block in stage.blocks:
            width = block.branch[-1].outputs
            found.append(((*block.opening, *block.branch), block.inputs, width, block.stride))
            if block.shortcut is not None and block.merge != "cat":
                carried = block.outputs - block.growth
                found.append((block.shortcut, block.inputs, carried, block.stride))
            found.append((block.after, block.outputs, block.outputs, 1))
        if stage.join:
            found.append((stage.join.after, stage.outputs, stage.outputs, 1))
    head = (*network.head.steps, *network.head.pooled)
    found.append((head, network.stages[-1].outputs, network.head.features, 1))
    return found


@settings(RELAXED, max_examples=150)
@given(designs())
def test_every_chain_fits_and_branch_and_shortcut_meet_in_one_shape(design: Design) -> None:
    plan = design.plan()
    for steps, inputs, outputs, stride in chains(plan):
        channels = inputs
        for step in steps:
            assert step.inputs == channels
            assert step.inputs % step.groups == step.outputs % step.groups == 0
            channels = step.outputs
        assert channels == outputs
        assert prod(step.stride for step in steps) == stride


@settings(RELAXED, max_examples=150)
@given(designs())
def test_blocks_stages_and_head_fit_each_other(design: Design) -> None:
    plan = design.plan()
    channels = plan.stem[-1].outputs
    outputs = [channels]
    assert channels == design.stem_width
    for index, stage in enumerate(plan.stages):
        assert len(stage.blocks) == len(stage.drop_paths) == design.depths[index]
        if stage.transition:
            assert stage.transition[0].inputs == channels
            channels = stage.transition[-1].outputs
        strides = prod(s.stride for s in stage.transition) * prod(b.stride for b in stage.blocks)
        assert strides == (2 if index else 1)
        for position, block in enumerate(stage.blocks):
            assert block.inputs == channels
            width, growth = design.widths[index], block.growth
            assert (block.merge in ("cat", "dual")) == (growth > 0)
            match block.merge:
                case "cat":
                    assert growth == width
                    assert block.outputs == channels + width
                case "dual" if position:
                    assert block.outputs == channels + growth
                case _:
                    assert block.outputs == width + 3 * growth
            channels = block.outputs
        if stage.join:
            assert stage.join.inputs == channels
            for link in stage.join.links:
                assert f"{link.source}>{index + 1}" in design.links
                carried = outputs[link.source]
                strides = prod(step.stride for step in link.steps)
                assert strides == 2 ** (index - max(link.source - 1, 0))
                for step in link.steps:
                    assert step.inputs == carried
                    carried = step.outputs
                channels += carried if stage.join.merge == "cat" else 0
                assert stage.join.merge == "cat" or carried == channels
        channels = stage.outputs
        outputs.append(channels)
    joined = sum(len(stage.join.links) for stage in plan.stages if stage.join)
    assert joined == len(design.links)
    assert plan.stages[-1].outputs == channels


@pytest.mark.parametrize(
    ("stride", "entering", "leaving"),
    [(1, (7, 4), (7, 4)), (2, (7, 4), (4, 2)), (2, (1, 3), (1, 2)), (4, (9, 8), (3, 2))],
)
def test_height_and_width_are_divided_upwards(
    stride: int, entering: tuple[int, int], leaving: tuple[int, int]
) -> None:
    step = Step("conv", 3, 4, 3, stride)
    assert step.size(*entering) == leaving
    assert [size for _, size in sized((step, Step("bn", 4, 4)), Size(*entering))] == [leaving] * 2
    assert size_after((step, Step("bn", 4, 4)), Size(*entering)) == leaving
