"""The network: stem, stages and head, each with the output channels of the one before."""

from __future__ import annotations

from collections.abc import Sequence

from skipsearch.errors import DesignError
from skipsearch.layout import Layout
from skipsearch.merges import MERGES
from skipsearch.plan import Block, Network, Stage, Step, Steps
from skipsearch.planning.block import plan_block
from skipsearch.planning.chains import plan_run
from skipsearch.planning.ends import head_tokens, plan_head, plan_stem, stem_ending
from skipsearch.planning.links import plan_join
from skipsearch.planning.stage import StageFields


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
        fields: Fields of each stage.
        stem: Operations of the stem, including convolutions and possibly ``pool``.
        stem_width: Output channels of the stem.
        head: Operations before and after the global average pooling, ``mean``, and that itself.
        head_width: Output channels of each convolution of the head; 0 for its input channels.
        links: Long skips, each from the output of one stage to that of a later one; 0 is the stem.
        link_merge: How links are joined, a word of ``LINK_MERGES``.
        link_shortcut: What an added link carries where shapes differ.
        compression: Share of the channels kept by the transition before a ``cat`` stage
            (Huang et al. 2017, arXiv:1608.06993, section 3).
        drop_path: Rate of stochastic depth at the last block, rising linearly from the first
            (Huang et al. 2016, arXiv:1603.09382, section 3).
        dropout: Rate of every ``dropout`` in the layouts.
        in_channels: Number of image channels.

    Raises:
        DesignError: If the shapes of a stage cannot be made to fit.
    """
    stem_steps = plan_stem(stem, stem_width, in_channels, fields[0].layout)
    channels = stem_width
    outputs = [stem_width]  # of the stem and of each stage, for the links
    blocks_in_all = sum(stage.depth for stage in fields)
    before = 0  # number of blocks in earlier stages
    stages = []
    for index, stage in enumerate(fields):
        stride = 2 if index else 1
        transition: Steps = ()
        if index and needs_transition(stage):
            transition = _plan_transition(
                channels, compression, fields[index - 1].layout, stage.layout
            )
            channels, stride = transition[-1].outputs, 1
        sources = [source for source, target in links if target == index + 1]
        join = None
        try:
            blocks = _plan_blocks(stage, channels, stride, dropout)
            rates = tuple(
                drop_path * position / blocks_in_all if block.merge else 0.0
                for position, block in enumerate(blocks, before + 1)
            )
            if not drop_path and not (sources and stage.layout.after):
                blocks = _without_idle_shortcuts(blocks)
            if sources:
                # The layout's "after" acts on the joined signal, so it also comes after the links.
                after = stage.layout.after if blocks[-1].after else ()
                blocks[-1] = blocks[-1]._replace(after=())
                join = plan_join(
                    sources, blocks[-1], outputs, after, link_merge, link_shortcut, dropout
                )
        except DesignError as error:
            raise DesignError(f"stage {index + 1}: {error}") from None
        stages.append(Stage(transition, tuple(blocks), rates, join))
        channels = stages[-1].outputs
        outputs.append(channels)
        before += stage.depth
    head_plan = plan_head(head, channels, head_width, dropout, fields[-1].layout)
    return Network(stem_steps, tuple(stages), head_plan)


def _plan_blocks(stage: StageFields, channels: int, stride: int, dropout: float) -> list[Block]:
    blocks: list[Block] = []
    while len(blocks) < stage.depth:
        block = plan_block(stage, channels, stride, dropout, not blocks)
        # From the second block on, blocks that keep the number of channels are identical.
        alike = bool(blocks) and block.outputs == channels
        blocks += [block] * (stage.depth - len(blocks) if alike else 1)
        channels, stride = block.outputs, 1
    return blocks


def _without_idle_shortcuts(blocks: list[Block]) -> list[Block]:
    """Make the blocks of a stage plain if every shortcut has the factor 0 and no parameters.

    "The shortcut is 0 ... a plain net" (He et al. 2016, arXiv:1603.05027, section 3.1). A
    projection stays, since its parameters decay. So does a stage whose branches have a factor or
    whose joins are followed by a convolution, since no plain layout expresses it. The caller
    keeps stages whose branches are dropped at random, or whose links join before ``after``.
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
    """Whether a transition halves height and width because the blocks of the stage cannot."""
    return stage.layout.skip and not MERGES[stage.merge].carries


def _plan_transition(channels: int, compression: float, before: Layout, after: Layout) -> Steps:
    """The head of the stage before, a 1x1 convolution, the stem of the stage after, and pooling."""
    kept = kept_channels(channels, compression)
    return (
        *plan_run(head_tokens(before), channels, 0.0),
        Step("conv", channels, kept),
        *plan_run(stem_ending(after), kept, 0.0),
        Step("avgpool", kept, kept, 2, 2),
    )


def kept_channels(channels: int, compression: float) -> int:
    """Return the output channels of a transition, at least 1."""
    return max(1, int(channels * compression))
