"""Deeper networks that compute the same: where it is possible, where not and why, what is new."""

import copy
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import RELAXED, designs
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.classics import (
    BN_AFTER_ADDITION,
    BOTTLENECK,
    BOTTLENECK_PREACTIVATION,
    DENSE,
    FULL_PREACTIVATION,
    ORIGINAL,
    PLAIN,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
)
from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.data import load_data, normalise
from skipsearch.deepening import deepen
from skipsearch.deepening.identity import behind_block
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.merges import MERGES
from skipsearch.models import Network, build
from skipsearch.models.ops import OPS, Scale
from skipsearch.operations import ACTIVATIONS, OPERATIONS, through
from skipsearch.plan import Step
from skipsearch.planning import SHORTCUTS
from skipsearch.ranges import ANY, Range
from skipsearch.recipe import Recipe
from skipsearch.training import train

CLASSES = 5


@torch.no_grad()
def trained(design: Design, in_channels: int = 3) -> Network:
    """A network whose every norm and factor is drawn at random, as if it had been trained."""
    model = build(design, in_channels, CLASSES, seed=3)
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            module.weight.uniform_(0.5, 1.5, generator=generator)
            module.bias.normal_(0.0, 0.1, generator=generator)
        if isinstance(module, Scale):
            module.factor.fill_(0.7)
    return model.eval()


def images(count: int = 3, size: int = 11, channels: int = 3, seed: int = 1) -> Tensor:
    return torch.randn(count, channels, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def distance(one: nn.Module, other: nn.Module, batch: Tensor) -> float:
    """The largest difference of logits, relative to the largest logit."""
    a, b = one(batch), other(batch)
    return ((a - b).abs().max() / a.abs().max().clamp(min=1e-3)).item()


def assert_deepens(
    design: Design, depths: tuple[int, ...], batch: Tensor | None = None
) -> tuple[Network, Network]:
    model = trained(design)
    deeper = deepen(model, design, design.replace(depths=depths), batch)
    assert distance(model, deeper, images()) < 1e-5
    return model, deeper


# What is possible ------------------------------------------------------------------------------

YES = "+++++"
REASONS = {
    "r": r"'relu' in the branch, which has to carry .* cuts off what is below 0, as .* can be$",
    "t": r"'relu' in the branch, .* too few for the \d+ of the signal and their negatives",
    "c": r"'conv1' in the branch, which has to carry .* has \d+ channels for the \d+ of the signal",
    "6": r"'relu6' in the branch, which has to carry .* not between 0 and 6",
    "g": r"'gelu' in the branch, which has to carry .* bends every signal",
    "s": r"'se' in the branch, which has to carry .* only where its gradient vanishes",
    "n": r"'[gl]n' in the branch, which has to carry .* normalises every image anew",
    "R": r"'relu' before the projection of the shortcut cuts off what is below 0",
    "N": r"'gn' in the shortcut normalises every image anew",
    "A": r"'relu6?' behind the join cuts off",
    "G": r"'gelu' behind the join bends every signal",
    "S": r"'se' behind the join weighs by less than 1",
    "p": r"'pad' would join the wider signal to other channels than before",
    "w": r"'ln' would normalise the channels together with those that are new",
    "W": r"'gn' would group the channels of the wider signal anew",
}
# Layout and bottleneck_ratio -> a word for each of the merges add, cat, gate, shortcut-gate,
# weighted and dual; in it one letter for each of the shortcuts pad, proj, proj-all, avg-proj and
# omit: + where both stages can grow, else the reason. A branch that adds starts at 0, one that is
# gated carries the signal: a pre-activation and a bottleneck let only a part of it through.
TABLE = {
    (ORIGINAL, 1): (YES, YES, YES, YES, YES, "p++++"),
    (BN_AFTER_ADDITION, 1): (YES, YES, YES, YES, YES, "p++++"),
    # A projection may be negative, so behind one no gated branch of relu carries the signal.
    (RELU_BEFORE_ADDITION, 1): (YES, YES, "+ttt+", "+ttt+", YES, "p++++"),
    (RELU_ONLY_PREACTIVATION, 1): ("++R++", YES, "rrRrr", "rrRrr", "++R++", "p+R++"),
    (FULL_PREACTIVATION, 1): ("++R++", YES, "rrRrr", "rrRrr", "++R++", "p+R++"),
    (PLAIN, 1): (YES, YES, YES, YES, YES, YES),
    (BOTTLENECK, 0.5): (YES, YES, "ccccc", "ccccc", YES, "p++++"),
    (BOTTLENECK_PREACTIVATION, 0.5): ("++R++", YES, "rrRrr", "rrRrr", "++R++", "p+R++"),
    (DENSE, 2): ("++R++", YES, "rrRrr", "rrRrr", "++R++", "p+R++"),
    # Squeeze-and-excitation, Highway, ReZero, zero-gamma, MobileNetV2, ConvNeXt.
    ("conv3-bn-relu-conv3-bn-se + relu", 1): (YES, YES, "sssss", "sssss", YES, "p++++"),
    ("conv3-relu +", 1): (YES, YES, "+rrr+", "+rrr+", YES, "p++++"),
    ("relu-conv3-relu-conv3-scale +", 1): ("++R++", YES, "rrRrr", "rrRrr", "++R++", "p+R++"),
    ("conv3-bn-relu-conv3-bn0 + relu", 1): (YES, YES, YES, YES, YES, "p++++"),
    ("conv1-bn-relu6-dw3-bn-relu6-conv1-bn +", 2): (YES, YES, "66666", "66666", YES, "p++++"),
    ("dw7-ln-conv1-gelu-conv1-scale +", 2): (YES, "wwwww", "nnnnn", "nnnnn", YES, "wwwww"),
    ("conv3-gn-relu-conv3-gn + relu", 1): ("++N++", "WWWWW", "nnNnn", "nnNnn", "++N++", "p+N++"),
    # With twice the channels inside, x = f(x) - f(-x) carries any signal through relu, gelu, silu.
    ("conv3-relu-conv3 +", 1): (YES, YES, "ttttt", "ttttt", YES, "p++++"),
    ("conv3-relu-conv3 +", 2): (YES, YES, YES, YES, YES, "p++++"),
    ("conv1-gelu-dw3-conv1 +", 2): (YES, YES, YES, YES, YES, "p++++"),
    ("conv1-bn-silu-conv3 +", 2): (YES, YES, YES, YES, YES, "p++++"),
    ("conv3-bn-gelu +", 1): (YES, YES, "ggggg", "ggggg", YES, "p++++"),
    # What stands behind the join meets the signal whatever the branch does.
    ("conv3-bn + relu6", 1): (YES, YES, YES, YES, YES, "p++++"),
    ("conv3 + dw3-bn-conv3-scale", 1): (YES, YES, YES, YES, YES, "p++++"),
    ("conv3-bn + gelu", 1): ("GGGGG",) * 6,
    ("conv3 + relu-bn", 1): ("AAAAA",) * 6,
    ("conv3-bn + relu-se", 1): ("SSSSS",) * 6,
}


def small(layout: str, **changes: object) -> Design:
    """Two stages of one block; where blocks add to it, 8 and then 16 channels wide."""
    values = {"depths": (1, 1), "widths": (8, 16), "stem_width": 8, "growth": 4, **changes}
    return Design(layout=layout, **values)


def verdict(design: Design) -> str:
    """``+`` where a design deepens to the same function, else the letter of the reason."""
    try:
        assert_deepens(design, (2, 3))
    except DesignError as error:
        said = str(error)
    else:
        return "+"
    (letter,) = [key for key, text in REASONS.items() if re.search(text, said)]
    assert f"layout {design.layout!r}: no weights " in said
    return letter


def verdicts(layout: str, ratio: float) -> dict[str, str]:
    """Return a word of ``TABLE`` for each merge."""
    words = dict(zip(MERGES, TABLE[layout, ratio], strict=False))
    # Its branch has to carry the signal as well; behind a relu no projection makes it negative.
    largest: dict[object, str] = {
        RELU_BEFORE_ADDITION: YES,
        "conv3-relu +": YES,
        ("conv3-relu-conv3 +", 1): "+tttt",
    }
    word = largest.get(layout) or largest.get((layout, ratio), words["gate"])
    return words | {"max": word}


@pytest.mark.parametrize(("layout", "ratio"), TABLE)
def test_what_can_grow_and_why_the_rest_cannot(layout: str, ratio: float) -> None:
    found = tuple(
        "".join(
            verdict(small(layout, bottleneck_ratio=ratio, merge=merge, shortcut=shortcut))
            for shortcut in SHORTCUTS
        )
        for merge in MERGES
    )
    assert dict(zip(MERGES, found, strict=True)) == verdicts(layout, ratio)


def test_every_layout_of_the_classics_is_in_the_table() -> None:
    assert {classic.design.layout for classic in CLASSIFIERS.values()} <= {key[0] for key in TABLE}


CASES = {
    # Every stage of a classic grows, as in He et al. 2015, arXiv:1512.03385, Table 6.
    "resnet": (Design(layout=ORIGINAL, shortcut="pad", depths=(1, 2, 1)), (3, 3, 2)),
    "preresnet": (
        Design(
            layout=BOTTLENECK_PREACTIVATION, bottleneck_ratio=0.25, depths=(1, 1), widths=(16, 32)
        ),
        (2, 2),
    ),
    "resnext": (small(BOTTLENECK, groups=4, bottleneck_ratio=0.5), (2, 2)),
    # Huang et al. 2017, arXiv:1608.06993: the channels that the first stage adds go through two
    # transitions, each of which keeps a share.
    "densenet-bc": (
        Design(
            layout=DENSE,
            merge="cat",
            depths=(2, 2, 2),
            widths=(4, 4, 4),
            stem_width=8,
            bottleneck_ratio=4.0,
        ),
        (4, 3, 2),
    ),
    "densenet, nothing compressed": (
        small(DENSE, merge="cat", compression=1.0, bottleneck_ratio=4.0),
        (3, 1),
    ),
    # Chen et al. 2017, arXiv:1707.01629, Table 1; the grouped convolutions are inside.
    "dual path": (
        small(
            BOTTLENECK_PREACTIVATION, merge="dual", groups=4, bottleneck_ratio=0.5, depths=(2, 2)
        ),
        (4, 3),
    ),
    "cat, then add": (small(ORIGINAL, merge=("cat", "add")), (3, 2)),
    "cat, then gated, with a head": (
        small(ORIGINAL, merge=("cat", "gate"), head="conv1-bn-relu6-mean-conv1-relu"),
        (2, 3),
    ),
    "cat at the end, with a head": (
        small(ORIGINAL, merge=("add", "cat"), head="conv1-bn-relu6-mean-conv1-relu"),
        (2, 3),
    ),
    "cat, squeezed and excited": (small("bn-relu-se-conv3 + relu-se", merge="cat"), (1, 1)),
    "cat, squeezed where it is read": (small("bn-relu-se-conv3 +", merge="cat"), (3, 2)),
    "cat of whole groups of gn": (
        small("gn-relu-conv3 +", merge="cat", widths=(16, 16), stem_width=16, compression=1.0),
        (2, 2),
    ),
    # He et al. 2016, arXiv:1603.05027, Table 1.
    "scaled": (small(ORIGINAL, shortcut_scale=0.5, branch_scale=0.5), (2, 3)),
    "scaled up": (small("conv3-bn +", shortcut_scale=2.0, branch_scale=0.5), (2, 3)),
    "scaled branch": (small(FULL_PREACTIVATION, branch_scale=0.1), (2, 3)),
    "scaled projection": (
        small(BOTTLENECK, shortcut="proj-all", shortcut_scale=0.5, bottleneck_ratio=0.5),
        (2, 3),
    ),
    "no shortcut": (small(ORIGINAL, shortcut_scale=0.0), (2, 3)),
    "dropped shortcut": (small(ORIGINAL, shortcut_dropout=0.5, drop_path=0.2), (2, 3)),
    "grouped, both signs": (
        small("conv3-relu-conv3-relu-conv3 +", merge="gate", groups=4, bottleneck_ratio=2.0),
        (2, 3),
    ),
    "grouped inside alone": (
        small(
            "conv1-gelu-conv3-gelu-conv1 +",
            merge="gate",
            groups=3,
            bottleneck_ratio=2.25,
            widths=(8, 16),
        ),
        (2, 2),
    ),
    # Residual of residual (Zhang et al. 2016, arXiv:1608.02908): the links carry what they did.
    "links": (
        small(FULL_PREACTIVATION, links=("0>1", "1>2", "0>2"), depths=(1, 2)),
        (2, 3),
    ),
    # Behind the join of the links stands the relu of the last block, which stays the last.
    "links, original": (small(ORIGINAL, links=("0>1", "1>2", "0>2"), depths=(2, 2)), (4, 3)),
    "links, dual path": (small(ORIGINAL, merge="dual", links=("0>1",), depths=(2, 1)), (4, 2)),
    "links, dense": (small(ORIGINAL, merge="cat", links=("0>1",), depths=(2, 1)), (4, 2)),
    "links, a block that was alone": (
        small("conv3-bn-relu-conv3-bn-relu + relu", shortcut="pad", links=("0>1",)),
        (2, 1),
    ),
    "links from wider stages": (
        small(DENSE, merge="cat", links=("1>2",), link_merge="add"),
        (3, 1),
    ),
    "a padded link into a wider stage": (
        small(DENSE, merge="cat", links=("0>1",), link_shortcut="pad"),
        (3, 2),
    ),
    "links between wider stages": (
        small(DENSE, merge="cat", links=("0>1", "1>2"), link_merge="cat"),
        (3, 2),
    ),
    "links from a projection of wider stages": (
        small(DENSE, merge="dual", links=("0>1", "1>2"), link_shortcut="avg-proj"),
        (2, 2),
    ),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("measured", [False, True], ids=["", "measured"])
def test_designs_that_can_grow(case: str, measured: bool) -> None:
    design, depths = CASES[case]
    assert_deepens(design, depths, images(8) if measured else None)


REFUSED = {
    "no branch": (
        small(ORIGINAL, shortcut_scale=0.5, branch_scale=0.0),
        "stage 1, layout .*: no weights make a new block the identity: the branch would make up"
        " for shortcut_scale 0.5, but branch_scale is 0",
    ),
    "negative": (
        small("conv3-relu +", shortcut_scale=2.0),
        "stage 1, layout .*'relu' in the branch, .* under shortcut_scale 2, cuts off",
    ),
    "restored": (
        small(ORIGINAL, links=("0>1",)),
        "stage 1, .*'relu' behind the join of a block that is no longer the last before the links",
    ),
    "behind links": (
        small(ORIGINAL, links=("1>2",), shortcut="omit"),
        "stage 2, layout .*'relu' behind the links cuts off",
    ),
    "groups": (
        small("conv3 +", merge=("cat", "add"), groups=4),
        "stage 2, layout .*: no weights ignore the channels that are added before: a convolution"
        " in 4 groups would group the channels",
    ),
    "a link": (
        small(
            "conv3 +", merge="dual", stem_width=20, links=("0>1",), widths=(8, 16), shortcut="proj"
        ),
        "stage 1, .*the identity would carry the wider signal as 'conv'",
    ),
    "a padded link": (
        small(DENSE, merge="dual", links=("1>2",), link_shortcut="pad", widths=(8, 32)),
        "stage 2, layout .*: .* 'pad' would join the wider signal to other channels than before",
    ),
    "the head": (
        small("conv3 +", merge="cat", head="ln-mean"),
        "head: no weights ignore .*: 'ln' would",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_design_that_cannot_grow_says_why(case: str) -> None:
    design, message = REFUSED[case]
    with pytest.raises(DesignError, match=message):
        assert_deepens(design, (2, 2))


def test_a_stage_may_stay_where_another_could_not_grow() -> None:
    # The second stage opens with a projection of either sign; the first reads the stem's relu.
    design = small("conv3-relu +", merge="gate")
    assert_deepens(design, (3, 1))
    with pytest.raises(DesignError, match=r"stage 2, layout 'conv3-relu \+': .* 'relu' in the"):
        assert_deepens(design, (1, 2))


def test_groups_of_gn_that_would_be_mixed_though_they_keep_their_size() -> None:
    # Groups of 4: 6 + 6 channels would stand as 6 + 8 new + 6.
    design = small("gn-relu-conv3 +", merge="cat", widths=(4, 6))
    with pytest.raises(DesignError, match=r"head: no weights ignore .* 'gn' would group"):
        assert_deepens(design, (5, 1))


@settings(RELAXED, max_examples=80)
@given(designs(), st.tuples(*[st.integers(0, 1)] * 3), st.booleans())
def test_any_design_grows_into_the_same_function_or_is_refused(
    design: Design, more: tuple[int, ...], measured: bool
) -> None:
    depths = tuple(depth + extra for depth, extra in zip(design.depths, more, strict=False))
    model = trained(design).double()  # norms of few channels magnify what rounding does
    batch = images(2, 9).double()
    try:
        deeper = deepen(model, design, design.replace(depths=depths), batch if measured else None)
    except DesignError:
        return
    assert [len(stage) for stage in deeper.stages] == [
        depth + bool(stage.transition)
        for depth, stage in zip(depths, design.plan().stages, strict=True)
    ]
    with torch.no_grad():
        expected, logits = model(batch), deeper(batch)
    assert (logits - expected).abs().max() <= 1e-5 * expected.abs().max().clamp(min=1)


@pytest.mark.parametrize("op", [*ACTIVATIONS, "dropout", "se", "pad"])
@pytest.mark.parametrize("signal", [ANY, Range(-1.0, 2.0), Range(0.0, 9.0), Range(-9.0, -1.0)])
def test_the_range_behind_an_operation_holds(op: str, signal: Range) -> None:
    step = Step(op, 4, 4, rate=0.5)
    x = torch.linspace(-20, 20, 4001).clamp(*signal).expand(1, 4, 1, -1)
    with torch.no_grad():
        y = OPS[op].build(step).eval()(x)
    low, high = through((step,), signal)
    assert low <= y.min()
    assert y.max() <= high
    assert OPERATIONS[op].keeps(signal) <= torch.equal(x, y)


@settings(RELAXED, max_examples=60)
@given(designs().filter(lambda design: not design.links))
def test_the_ranges_that_a_plan_gives_hold(design: Design) -> None:
    model, plan = trained(design), design.plan()
    with torch.no_grad():
        x, signal = model.stem(10 * images(2, 9)), through(plan.stem, ANY)
        for name, stage in zip(model.stages, plan.stages, strict=True):
            if stage.transition:
                x, signal = name.transition(x), through(stage.transition, signal)
            for number, block in enumerate(stage.blocks, 1):
                x, signal = name.get_submodule(f"block{number}")(x), behind_block(block, signal)
                assert signal.low <= x.min()
                assert x.max() <= signal.high + 1e-5  # a mean of pixels rounds


# What is new -----------------------------------------------------------------------------------


def new_blocks(design: Design, depths: tuple[int, ...]) -> list[str]:
    return [
        f"stages.stage{stage}.block{number}"
        for stage, (old, new) in enumerate(zip(design.depths, depths, strict=True), 1)
        for number in range(old + 1, new + 1)
    ]


GROWS = [
    (layout, ratio, merge)
    for layout, ratio in TABLE
    for merge, word in verdicts(layout, ratio).items()
    if word[1] == "+"
]


@pytest.mark.parametrize(("layout", "ratio", "merge"), GROWS)
def test_a_gradient_reaches_every_new_block(layout: str, ratio: float, merge: str) -> None:
    design = small(layout, bottleneck_ratio=ratio, merge=merge)
    model = deepen(trained(design), design, design.replace(depths=(3, 2)), images(8))
    for mode in (model.eval(), copy.deepcopy(model).train()):
        if merge == "cat":  # the weights that read the new channels start at 0, and learn first
            descend(mode)
        descend(mode)
        for name in new_blocks(design, (3, 2)):
            gradients = [p.grad.abs().max() for p in mode.get_submodule(name).parameters()]
            assert max(gradients) > 1e-7, name


def descend(model: Network) -> None:
    """One step of gradient descent, whose gradients remain."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    F.cross_entropy(model(images(8, seed=2)), torch.arange(8) % CLASSES).backward()
    optimizer.step()


@pytest.mark.parametrize("layout", [ORIGINAL, RELU_BEFORE_ADDITION, "conv3-relu-conv3-scale +"])
def test_new_weights_learn_to_differ(layout: str) -> None:
    design = small(layout)
    model = deepen(trained(design), design, design.replace(depths=(2, 1)), images(8)).train()
    for _ in range(3):
        descend(model)
    for parameter in model.stages.stage1.block2.parameters():
        if parameter.dim() > 1:
            filters = parameter.flatten(1)
            assert len(filters.unique(dim=0)) == len(filters)


@pytest.mark.parametrize("layout", [ORIGINAL, "conv3 +", "conv3-relu-conv3-scale +"])
@pytest.mark.parametrize("merge", ["cat", "dual"])
@torch.no_grad()
def test_channels_that_are_appended_hold_something_to_learn_from(layout: str, merge: str) -> None:
    design = small(layout, merge=merge)
    _, deeper = assert_deepens(design, (2, 1))
    x = deeper.stages.stage1.block1(deeper.stem(images()))
    out = deeper.stages.stage1.block2(x)
    torch.testing.assert_close(out[:, : x.shape[1]], x, atol=1e-6, rtol=1e-5)
    assert out[:, x.shape[1] :].std() > 0.01


def test_trained_blocks_are_copied_and_the_model_is_left_as_it_is() -> None:
    design = small(ORIGINAL, depths=(1, 2))
    model = trained(design)
    before = copy.deepcopy(model.state_dict())
    deeper = deepen(model, design, design.replace(depths=(3, 3)), images(4))
    descend(deeper)
    after = model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(parameter.grad is None for parameter in model.parameters())
    state = deepen(model, design, design.replace(depths=(3, 3)), images(4)).state_dict()
    assert all(torch.equal(before[name], state[name]) for name in before)
    ours = build(design.replace(depths=(3, 3)), classes=CLASSES).state_dict()
    assert list(state) == list(ours)


def test_the_last_block_before_links_stays_the_last() -> None:
    design = small(ORIGINAL, links=("0>1",), depths=(2, 1))
    model, deeper = assert_deepens(design, (4, 1))
    for old, new in ((1, 1), (2, 4)):
        theirs = model.get_submodule(f"stages.stage1.block{old}").state_dict()
        ours = deeper.get_submodule(f"stages.stage1.block{new}").state_dict()
        assert all(torch.equal(theirs[name], ours[name]) for name in theirs)


def test_the_same_depths_give_a_copy() -> None:
    design = small(ORIGINAL)
    model = trained(design)
    state = deepen(model, design, design).state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_the_seed_alone_draws_new_weights() -> None:
    design = small(ORIGINAL)
    model, deep = trained(design), design.replace(depths=(2, 1))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    one, same, other = (
        deepen(model, design, deep, images(2), seed=seed).stages.stage1.block2.branch.conv1.weight
        for seed in (1, 1, 2)
    )
    assert torch.equal(torch.rand(4), expected)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@pytest.mark.parametrize("mode", [True, False])
def test_mode_and_type_are_those_of_the_model(mode: bool) -> None:
    design = small(PLAIN)
    model = trained(design, in_channels=1).double().train(mode)
    batch = images(2, channels=1)
    deeper = deepen(model, design, design.replace(depths=(2, 1)), batch)  # of another type
    assert {tensor.dtype for tensor in deeper.parameters()} == {torch.float64}
    assert all(module.training is mode for module in deeper.modules())
    assert all(parameter.requires_grad for parameter in deeper.parameters())
    assert distance(model.eval(), deeper.eval(), batch.double()) < 1e-12


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("merge", MERGES)
def test_a_model_on_the_gpu_grows_there(merge: str) -> None:
    design = small(ORIGINAL, merge=merge)
    model = trained(design).to("cuda", torch.float64)
    batch = images(4).to("cuda", torch.float64)
    deeper = deepen(model, design, design.replace(depths=(2, 2)), images(4))
    assert distance(model, deeper, batch) < 1e-10


# Statistics ------------------------------------------------------------------------------------


@torch.no_grad()
def test_new_norms_take_their_statistics_from_the_images() -> None:
    design, batch = small(BN_AFTER_ADDITION), images(16)
    _, deeper = assert_deepens(design, (2, 1), batch)
    block = deeper.stages.stage1.block2
    x = deeper.stages.stage1.block1(deeper.stem(batch))
    conv = block.branch.conv1(x)
    norm, undone = block.branch.bn1, block.after.bn1
    torch.testing.assert_close(norm.running_mean, conv.mean((0, 2, 3)), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(norm.running_var, conv.var((0, 2, 3), correction=0))
    assert torch.equal(norm.weight, torch.ones(8))
    torch.testing.assert_close(undone.running_mean, x.mean((0, 2, 3)), atol=1e-6, rtol=1e-5)
    assert torch.equal(undone.bias, undone.running_mean)
    assert torch.equal(undone.weight, (undone.running_var + undone.eps).sqrt())
    # In training the batch itself is what the norm divides by.
    assert distance(nn.Identity(), block.train(), x) < 1e-5


@torch.no_grad()
def test_a_trained_channel_keeps_its_statistics_beside_a_new_one() -> None:
    design, batch = small(DENSE, merge="cat"), images(16)
    model, deeper = assert_deepens(design, (2, 1), batch)
    old, new = (network.stages.stage2.transition for network in (model, deeper))
    assert torch.equal(new.bn1.running_mean[:16], old.bn1.running_mean)
    x = deeper.stages.stage1(deeper.stem(batch))
    torch.testing.assert_close(
        new.bn1.running_mean[16:], x.mean((0, 2, 3))[16:], atol=1e-6, rtol=1e-5
    )
    assert not new.conv1.weight[: old.conv1.out_channels, 16:].any()
    assert new.conv1.weight[old.conv1.out_channels :].all()  # free: as build draws them


@torch.no_grad()
def test_with_images_training_starts_nearly_where_it_was() -> None:
    design, batch = small(PLAIN), images(32)
    model = trained(design).train()
    for _ in range(50):
        model(batch)  # the trained norms know what they see
    far = deepen(model, design, design.replace(depths=(3, 3))).train()
    near = deepen(model, design, design.replace(depths=(3, 3)), batch).train()
    assert distance(model, near, batch) < 0.1 * distance(model, far, batch)


# Borders ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depths": (2, 1)}, "depths: stage 2 has 2 blocks and would have 1; deepen adds"),
        ({"depths": (3, 2), "widths": (8, 32)}, r"widths: \(8, 16\) cannot become \(8, 32\); dee"),
        ({"layout": PLAIN}, "layout: 'conv3-bn-relu-conv3-bn \\+ relu' cannot become 'conv3-bn"),
        ({"depths": (1, 2), "drop_path": 0.1}, "drop_path: 0.0 cannot become 0.1; deepen changes"),
        ({"depths": (1, 2, 1), "widths": (8, 16, 16)}, "depths: a network of 2 stages cannot bec"),
    ],
)
def test_designs_that_differ_in_more_than_depths(changes: dict[str, object], message: str) -> None:
    design = small(ORIGINAL, depths=(1, 2))
    with pytest.raises(DesignError, match=message):
        deepen(trained(design), design, design.replace(**changes))


def test_a_field_without_effect_may_differ() -> None:
    design = small(ORIGINAL, dropout=0.1, gate_bias=-3.0)
    deep = design.replace(depths=(2, 1), dropout=0.0, gate_bias=0.0)
    model = trained(design)
    assert distance(model, deepen(model, design, deep), images()) < 1e-5


def test_a_field_whose_effect_comes_with_the_depth_may_differ() -> None:
    # A block alone in its stage, without a shortcut there, joins nothing.
    design = small(ORIGINAL, shortcut="omit", widths=(8, 16), stem_width=4)
    deep = design.replace(depths=(2, 2), merge="weighted")
    model = trained(design)
    assert distance(model, deepen(model, design, deep), images()) < 1e-5


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (small(ORIGINAL, widths=(8, 32)), "model is not of its design: stages.stage2.block1"),
        (
            small(ORIGINAL, depths=(2, 1)),
            "model is not of its design: stages.stage1.block2 ",
        ),
        (small(ORIGINAL, merge="weighted"), r"stage1.block1 is WeightedAddBlock\(\) there and Add"),
        (small(ORIGINAL, drop_path=0.1), "stages.stage1.block1.drop_path is DropPath"),
    ],
)
def test_a_model_of_another_design(other: Design, message: str) -> None:
    design = small(ORIGINAL)
    with pytest.raises(DesignError, match=message):
        deepen(trained(other), design, design.replace(depths=(2, 2)))


def test_a_model_that_is_not_ours() -> None:
    design = small(ORIGINAL)
    with pytest.raises(DesignError, match="model: Linear is not a network made by build"):
        deepen(nn.Linear(1, 1), design, design)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (torch.zeros(2, 1, 8, 8), r"images: a batch \(N, 3, H, W\) is expected, not \(2, 1, 8, 8"),
        (torch.zeros(3, 8, 8), r"not \(3, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), r"not \(0, 3, 8, 8\)"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "images: torch.uint8 is not what the netwo"),
    ],
)
def test_images_that_the_network_cannot_read(batch: Tensor, message: str) -> None:
    design = small(ORIGINAL)
    with pytest.raises(DesignError, match=message):
        deepen(trained(design), design, design, batch)


# From end to end -------------------------------------------------------------------------------


def test_a_network_grows_between_two_trainings() -> None:
    data = load_data("digits").without_test()
    design = small(ORIGINAL, widths=(4, 8), stem_width=4, shortcut="pad")
    model = build(design, in_channels=1)
    recipe = Recipe(epochs=2, batch_size=128, peak_lr=0.1)
    *_, shallow = train(model, data, recipe)
    mean, std = torch.tensor(data.mean), torch.tensor(data.std)
    batch = normalise(data.train.images[:256], mean, std, torch.float32)
    deeper = deepen(model, design, design.replace(depths=(2, 2)), batch)
    held_out = normalise(data.validation.images, mean, std, torch.float32)
    assert distance(model.eval(), deeper.eval(), held_out) < 1e-5
    *_, deep = train(deeper, data, recipe.replace(peak_lr=0.01), seed=1)
    assert deep.train_loss < shallow.train_loss
    unit = deeper.stages.stage1.block2.branch.bn2.weight
    assert unit.abs().min() > 1e-4  # the new blocks learn
