"""The rules of construction: from the fields of a design to the plan of its network.

The four rules that complete a layout:

1. Widths. A dense convolution of the branch that is not its last outputs
   ``bottleneck_ratio x width``, the last ``width``; a depthwise one keeps its input. ``groups``
   applies to kernels larger than 1 (Xie et al. 2017, arXiv:1611.05431, Fig. 3c).
2. Stride sits in the branch's first convolution with a kernel larger than 1 (as torchvision).
3. A projection is a 1x1 convolution that reads what the branch's first convolution reads
   (He et al. 2016, arXiv:1603.05027, section 4.1) and is normalised as the branch's last is.
   That of a long skip reads the output of its stage.
4. Stem and head complete the block: the stem ends with whichever of norm and activation the
   branch does not open with; the head opens with what the branch opens with (appendix there).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from skipsearch.errors import DesignError, shown_value, unknown_word
from skipsearch.layout import (
    ACTIVATIONS,
    NORMS,
    PLAIN_TOKENS,
    Layout,
    is_convolution,
    split_convolution,
)
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.plan import Block, Join, Link, Network, Stage, StageFields, Step, Steps

SHORTCUTS = ("pad", "proj", "proj-all", "avg-proj", "omit")
LINK_SHORTCUTS = ("pad", "proj", "avg-proj")
# Fields of a design that a block has as they are, where its merge knows them.
SETTINGS = ("shortcut_scale", "branch_scale", "shortcut_dropout", "gate_bias")


def plan_network(
    fields: Sequence[StageFields],
    *,
    stem: tuple[str, ...],
    stem_width: int,
    head: tuple[str, ...] = ("mean",),
    head_width: int = 0,
    links: Sequence[tuple[int, int]] = (),
    link_merge: str = "add",
    link_shortcut: str = "proj",
    compression: float,
    drop_path: float,
    dropout: float,
    in_channels: int,
) -> Network:
    """Resolve every shape of a network.

    Args:
        fields: One entry a stage.
        stem: The stem's operations, convolutions and ``pool`` among them.
        stem_width: Channels that leave the stem.
        head: The operations before and behind the global average pooling, ``mean``.
        head_width: Channels that leave a convolution of the head; 0 for those that enter it.
        links: Long skips, each from the output of one stage to that of a later one; 0 is the stem.
        link_merge: How they are joined, a word of ``LINK_MERGES``.
        link_shortcut: What a link that is added carries where shapes differ.
        compression: Share of the channels that a transition before a ``cat`` stage keeps
            (Huang et al. 2017, arXiv:1608.06993, section 3).
        drop_path: Rate of stochastic depth at the last block, rising linearly from the first
            (Huang et al. 2016, arXiv:1603.09382, section 3).
        dropout: Rate of every ``dropout`` in the layouts.
        in_channels: Channels of the images.

    Raises:
        DesignError: If the shapes of a stage cannot be made to fit.
    """
    stem_steps = _plan_stem(stem, stem_width, in_channels, fields[0].layout)
    channels = stem_width
    outputs = [stem_width]  # of the stem and of each stage, for the links
    blocks_in_all = sum(stage.depth for stage in fields)
    number = 0
    stages = []
    for index, stage in enumerate(fields):
        stride = 2 if index else 1
        transition: Steps = ()
        if index and needs_transition(stage):
            transition = _plan_transition(
                channels, compression, fields[index - 1].layout, stage.layout
            )
            channels, stride = transition[-1].outputs, 1
        blocks: list[Block] = []
        join = None
        try:
            while len(blocks) < stage.depth:
                block = plan_block(stage, channels, stride, dropout, not blocks)
                # From the second on, blocks that keep the channels are all alike.
                alike = bool(blocks) and block.outputs == channels
                blocks += [block] * (stage.depth - len(blocks) if alike else 1)
                channels, stride = block.outputs, 1
            rates = [
                drop_path * position / blocks_in_all if block.merge else 0.0
                for position, block in enumerate(blocks, number + 1)
            ]
            number += stage.depth
            sources = [source for source, target in links if target == index + 1]
            if not drop_path and not (sources and stage.layout.after):
                blocks = _without_idle_shortcuts(blocks)
            if sources:
                # The layout's "after" acts on the joined signal: behind the links as well.
                after = stage.layout.after if blocks[-1].after else ()
                blocks[-1] = blocks[-1]._replace(after=())
                carried = tuple(
                    Link(i, _plan_link(blocks[-1], i, outputs, link_merge, link_shortcut))
                    for i in sources
                )
                extra = 0
                if not LINK_MERGES[link_merge].carries:
                    extra = sum(outputs[source] for source in sources)
                join = Join(
                    carried,
                    link_merge,
                    _plan_run(after, channels + extra, dropout),
                    channels,
                    channels + extra,
                )
                channels = join.outputs
        except DesignError as error:
            raise DesignError(f"stage {index + 1}: {error}") from None
        outputs.append(channels)
        stages.append(Stage(transition, tuple(blocks), tuple(rates), join))
    head_steps, pooled = _plan_head(head, channels, head_width, dropout, fields[-1].layout)
    features = next((steps[-1].outputs for steps in (pooled, head_steps) if steps), channels)
    return Network(stem_steps, tuple(stages), head_steps, pooled, features)


def _without_idle_shortcuts(blocks: list[Block]) -> list[Block]:
    """Make the blocks of a stage plain where every shortcut has the factor 0 and no parameters.

    "The shortcut is 0 ... a plain net" (He et al. 2016, arXiv:1603.05027, section 3.1). A
    projection stays: it has parameters, which decay. So does a stage whose branches have a factor
    or whose joins are followed by a convolution, for no plain layout says that; and the caller
    keeps one whose branches are dropped at random, or whose links join before ``after``.
    """
    for block in blocks:
        carries = any(step.op != "pad" for step in block.shortcut or ())
        scales = block.merge and (block.shortcut_scale, block.branch_scale) != (0.0, 1.0)
        convolves = any(step.op == "conv" for step in block.after)
        if carries or scales or convolves:
            return blocks
    return [
        block._replace(
            branch=block.branch + block.after,
            after=(),
            shortcut=None,
            merge=None,
            shortcut_scale=1.0,
        )
        for block in blocks
    ]


def needs_transition(stage: StageFields) -> bool:
    """Whether the blocks of a stage cannot halve height and width, so that a transition does."""
    return stage.layout.skip and not MERGES[stage.merge].carries


def head_tokens(layout: Layout) -> tuple[str, ...]:
    """Rule 4, the head: the norms and activations that the branch opens with."""
    return tuple(
        "bn" if token == "bn0" else token
        for token in layout.opening
        if token in NORMS or token in ACTIVATIONS
    )


def stem_ending(layout: Layout) -> tuple[str, ...]:
    """Rule 4, the stem: norm and activation of the block, less those that the branch opens with.

    A block without norm (or activation) gets a stem without: what it has none of is not missing.
    """
    ending = []
    for kinds in (NORMS, ACTIVATIONS):
        used = [token for token in (*layout.branch, *layout.after) if token in kinds]
        if used and not any(token in kinds for token in layout.opening):
            ending.append("bn" if used[0] == "bn0" else used[0])
    return tuple(ending)


def complete_stem(stem: tuple[str, ...], layout: Layout) -> tuple[str, ...]:
    """Add what rule 4 asks for behind the stem's last convolution, unless something stands there.

    The pooling of a stem comes last (He et al. 2015, arXiv:1512.03385, Table 1).
    """
    core = stem[:-1] if stem[-1] == "pool" else stem
    if is_convolution(core[-1]):
        core += stem_ending(layout)
    return (*core, "pool") if stem[-1] == "pool" else core


def complete_head(head: tuple[str, ...], layout: Layout) -> tuple[str, ...]:
    """Add what rule 4 asks for before the head, unless a norm or activation opens it."""
    opens = next(token for token in head if token != "dropout")
    return head if opens in NORMS or opens in ACTIVATIONS else (*head_tokens(layout), *head)


def _plan_head(
    head: tuple[str, ...], channels: int, width: int, dropout: float, layout: Layout
) -> tuple[Steps, Steps]:
    """Resolve what stands before the pooling and behind it."""
    tokens = complete_head(head, layout)
    steps: list[Step] = []
    for token in tokens:
        if is_convolution(token):
            outputs = width or channels
            steps.append(Step("conv", channels, outputs, split_convolution(token)[1]))
            channels = outputs
        elif token == "mean":
            before, steps = tuple(steps), []
        else:
            steps += _plain_step(token, channels, dropout)
    return before, tuple(steps)


def _plan_stem(stem: tuple[str, ...], width: int, in_channels: int, layout: Layout) -> Steps:
    # A stem that pools is the ImageNet stem: its first convolution has stride 2. In a stem of
    # several convolutions all but the last are half as wide (He et al. 2019, arXiv:1812.01187,
    # Fig. 2b, ResNet-C).
    tokens = complete_stem(stem, layout)
    convolutions_left = sum(map(is_convolution, tokens))
    stride = 2 if tokens[-1] == "pool" else 1
    steps: list[Step] = []
    channels = in_channels
    for token in tokens:
        if is_convolution(token):
            convolutions_left -= 1
            outputs = width if convolutions_left == 0 else max(1, width // 2)
            kernel = split_convolution(token)[1]
            steps.append(Step("conv", channels, outputs, kernel, stride))
            channels, stride = outputs, 1
        elif token == "pool":
            steps.append(Step("maxpool", channels, channels, 3, 2))
        else:
            steps += _plain_step(token, channels, 0.0)
    return tuple(steps)


def _plan_transition(channels: int, compression: float, before: Layout, after: Layout) -> Steps:
    """The head of the stage before, a 1x1 convolution, the stem of the stage after, and pooling."""
    kept = kept_channels(channels, compression)
    return (
        *_plan_run(head_tokens(before), channels, 0.0),
        Step("conv", channels, kept),
        *_plan_run(stem_ending(after), kept, 0.0),
        Step("avgpool", kept, kept, 2, 2),
    )


def kept_channels(channels: int, compression: float) -> int:
    """Channels that leave a transition, at least 1."""
    return max(1, int(channels * compression))


def _plan_link(
    block: Block, source: int, outputs: Sequence[int], merge: str, shortcut: str
) -> Steps:
    """Resample a long skip: the shape of its source becomes the one that it is joined in.

    Added, it is carried as the shortcut of a block would be (Zhang et al. 2016, arXiv:1608.02908,
    section 3); concatenated, it keeps its channels and is average-pooled.

    Args:
        block: The last of the stage that it leads to.
        source: The stage that it leads from.
        outputs: Channels that leave the stem and each stage before.
        merge: How it is joined, a word of ``LINK_MERGES``.
        shortcut: What it carries where shapes differ.
    """
    inputs, channels, target = outputs[source], block.outputs, len(outputs)
    factor = 2 ** (target - max(source, 1))  # every stage but the first halves
    if not LINK_MERGES[merge].carries:
        return _pool(inputs, factor)
    if inputs == channels and factor == 1:
        return ()
    match shortcut:
        case "pad":
            if inputs > channels:
                raise DesignError(
                    f"link_shortcut 'pad' adds zero channels and cannot lead from {inputs} to"
                    f" {channels} (link {source}>{target}); use proj or avg-proj"
                )
            return (Step("pad", inputs, channels, 1, factor),)
        case "proj" | "avg-proj":
            tokens = tuple("conv1" if step.op == "conv" else step.op for step in block.branch)
            return _projection(inputs, channels, factor, tokens, pooled=shortcut == "avg-proj")
        case _:
            raise unknown_word("link_shortcut", shortcut)


@lru_cache(maxsize=4096)
def plan_block(
    stage: StageFields, inputs: int, stride: int, dropout: float, first: bool = True
) -> Block:
    """Resolve the shapes of one block.

    Under the merge ``dual`` the shortcut of a stage's first block leads to ``width + 2 growth``
    channels, the last ``2 growth`` of which begin the dense path (Chen et al. 2017,
    arXiv:1707.01629, section 4, as its authors' code has it).

    Args:
        stage: The fields of its stage.
        inputs: Channels that enter.
        stride: 2 where the block halves height and width, else 1.
        dropout: Rate of every ``dropout`` in the layout.
        first: Whether it is the first block of its stage.

    Raises:
        DesignError: If the channels do not fit.
    """
    layout = stage.layout
    split = len(layout.opening)
    opening = _plan_run(layout.opening, inputs, dropout)
    merge = MERGES[stage.merge] if layout.skip else None
    shortcut: Steps | None = None
    carried, added, growth = stage.width, stage.width, 0
    if merge and not merge.carries:
        shortcut = ()
        carried, added, growth = inputs, 0, stage.width
    elif merge:
        if merge.appends:
            growth = stage.growth
            carried = stage.width + 2 * growth if first else inputs
        # A dense path has to begin with channels of its own, even where the numbers fit.
        fits = inputs == carried and stride == 1 and not (growth and first)
        if fits and stage.shortcut != "proj-all":
            shortcut = ()
        else:
            shortcut = _plan_shortcut(stage, inputs, carried, stride, layout.branch[split:])
        if shortcut is None:
            merge, carried, growth = None, stage.width, 0
    outputs = carried + growth
    branch = _plan_branch(stage, inputs, added + growth, stride, dropout)
    after = _plan_run(layout.after, outputs, dropout)
    if merge is None and not any(map(is_convolution, layout.after)):
        branch, after = branch + after, ()  # Nothing joins, so nothing stands after the join.
    block = Block(
        opening,
        branch,
        shortcut,
        any(step.op == "conv" for step in shortcut or ()),
        stage.merge if merge else None,
        after,
        inputs,
        outputs,
        stride,
        growth=growth,
    )
    settings = {name: getattr(stage, name) for name in SETTINGS if merge and name in merge.fields}
    if settings.get("shortcut_scale") == 0:
        settings["shortcut_dropout"] = 0.0  # nothing is left to be dropped
    return block._replace(**settings)


def _plan_branch(stage: StageFields, inputs: int, width: int, stride: int, dropout: float) -> Steps:
    tokens = stage.layout.branch[len(stage.layout.opening) :]
    kernels = [split_convolution(token)[1] for token in tokens if is_convolution(token)]
    strided = next((i for i, kernel in enumerate(kernels) if kernel > 1), 0)
    dense_left = sum(token.startswith("conv") for token in tokens)
    steps: list[Step] = []
    channels, number = inputs, 0
    for token in tokens:
        if not is_convolution(token):
            steps += _plain_step(token, channels, dropout)
            continue
        kind, kernel = split_convolution(token)
        if kind == "dw":
            outputs = groups = channels
        else:
            dense_left -= 1
            outputs = stage.inner if dense_left else width
            groups = stage.groups if kernel > 1 else 1
        if channels % groups or outputs % groups:
            raise DesignError(
                f"groups {groups} does not divide the {channels} -> {outputs} channels"
                f" of {token} in {shown_value(str(stage.layout))}"
            )
        step_stride = stride if number == strided else 1
        steps.append(Step("conv", channels, outputs, kernel, step_stride, groups))
        channels, number = outputs, number + 1
    if channels != width:
        raise DesignError(
            f"layout {shown_value(str(stage.layout))} has depthwise convolutions alone, which keep"
            f" their {channels} channels, so it cannot lead to width {width}"
        )
    return tuple(steps)


def _plan_shortcut(
    stage: StageFields, inputs: int, outputs: int, stride: int, tokens: tuple[str, ...]
) -> Steps | None:
    match stage.shortcut:
        case "omit":
            return None
        case "pad":
            if inputs > outputs:
                raise DesignError(
                    f"shortcut 'pad' adds zero channels and cannot lead from {inputs} to {outputs};"
                    " use proj, avg-proj or omit, or widths that do not shrink"
                )
            return (Step("pad", inputs, outputs, 1, stride),)
        case "proj" | "proj-all" | "avg-proj":
            pooled = stage.shortcut == "avg-proj"
            return _projection(inputs, outputs, stride, tokens, pooled=pooled)
        case _:
            raise unknown_word("shortcut", stage.shortcut)


def _projection(
    inputs: int, outputs: int, stride: int, tokens: tuple[str, ...], *, pooled: bool
) -> Steps:
    """Rule 3: a 1x1 convolution and its norm; average pooling takes the stride where asked."""
    pool = _pool(inputs, stride) if pooled else ()
    return (
        *pool,
        Step("conv", inputs, outputs, 1, 1 if pool else stride),
        *_plan_run(projection_norm(tokens), outputs, 0.0),
    )


def _pool(channels: int, factor: int) -> Steps:
    return (Step("avgpool", channels, channels, factor, factor),) if factor > 1 else ()


def projection_norm(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Rule 3: the norm that directly follows the branch's last convolution, if one does."""
    tokens = tuple(token for token in tokens if token != "dropout")
    last = max(i for i, token in enumerate(tokens) if is_convolution(token))
    following = tokens[last + 1 : last + 2]
    if following and following[0] in NORMS:
        return ("bn" if following[0] == "bn0" else following[0],)
    return ()


def _plan_run(tokens: Sequence[str], channels: int, dropout: float) -> Steps:
    steps: list[Step] = []
    for token in tokens:
        if is_convolution(token):
            kind, kernel = split_convolution(token)
            groups = channels if kind == "dw" else 1
            steps.append(Step("conv", channels, channels, kernel, 1, groups))
        else:
            steps += _plain_step(token, channels, dropout)
    return tuple(steps)


def _plain_step(token: str, channels: int, dropout: float) -> Steps:
    if token == "dropout":
        return (Step(token, channels, channels, rate=dropout),) if dropout else ()
    if token not in PLAIN_TOKENS:
        raise unknown_word("operation", token)
    return (Step(token, channels, channels),)
