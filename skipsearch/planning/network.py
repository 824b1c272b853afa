"""The network: stem, stages and head, each with the output channels of the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from types import MappingProxyType
from typing import NamedTuple

from skipsearch.errors import DesignError
from skipsearch.kinds import MAPS
from skipsearch.layout import Layout, parse_run
from skipsearch.merges import MERGES
from skipsearch.operations import TRANSPOSED
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    OUTPUT,
    Block,
    End,
    Head,
    Join,
    MapHead,
    Network,
    Node,
    Stage,
    Step,
    Steps,
    end_word,
)
from skipsearch.planning.block import plan_block
from skipsearch.planning.chains import plan_run
from skipsearch.planning.ends import head_tokens, plan_head, plan_map_head, plan_stem, stem_ending
from skipsearch.planning.levels import encoder_ends, levels_of
from skipsearch.planning.links import Start, plan_join
from skipsearch.planning.nodes import needed_nodes, node_fields, node_places
from skipsearch.planning.resizing import DOWNS, plan_up
from skipsearch.planning.shortcuts import projection_norm
from skipsearch.planning.stage import StageFields

EMPTY: Mapping[int, str] = MappingProxyType({})


def plan_network(
    fields: Sequence[StageFields],
    *,
    stem: tuple[str, ...],
    stem_width: int,
    head: tuple[str, ...] = ("mean",),
    head_width: int = 0,
    ups: int = 0,
    up: Mapping[int, str] = EMPTY,
    down: str = "stride",
    links: Sequence[tuple[End, End]] = (),
    link_merge: Mapping[int, str] = EMPTY,
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
        head: Operations of the head, with the global average pooling, ``mean``, among them or a
            word of ``MAPS`` at the end.
        head_width: Output channels of each convolution of the head; 0 for its input channels.
        ups: Number of the last stages that enlarge.
        up: Operations by which each of these stages enlarges, by its number.
        down: Operation by which stages halve height and width, a word of ``DOWNS``.
        links: Long skips, each from one end to a later one.
        link_merge: Merge of the links that end at each stage, by its number: a word of
            ``LINK_MERGES``. A node has the merge of the stage that enlarges to its level.
        link_shortcut: Shortcut of an added link where shapes differ, a word of ``LINK_SHORTCUTS``.
        compression: Share of the channels kept by the transition before a ``cat`` stage
            (Huang et al. 2017, arXiv:1608.06993, section 3).
        drop_path: Rate of stochastic depth at the last block, rising linearly from the first
            (Huang et al. 2016, arXiv:1603.09382, section 3).
        dropout: Rate of every ``dropout`` in the layouts.
        in_channels: Number of image channels.

    Raises:
        DesignError: If the shapes of a stage cannot be made to fit.
    """
    levels = levels_of(stem, len(fields), ups)
    encoder = encoder_ends(levels, ups)
    stem_steps = plan_stem(stem, stem_width, in_channels, fields[0].layout)
    starts: dict[End, Start] = {IMAGE: Start(IMAGE, in_channels, 0)}  # where long skips can start
    stem_ends: tuple[End, ...] = (BEFORE_POOL, 0)
    starts |= {end: Start(end, stem_width, levels[end]) for end in stem_ends if end in levels}
    rates = _drop_path_rates(fields, drop_path)

    def resolve(
        end: End, number: int, stage: StageFields, reads: End, coming: Sequence[End]
    ) -> Stage:
        """Resolve a stage, or a node like the stage ``number``, and add it to ``starts``."""
        joining = _Joining(
            [starts[source] for source in coming],
            end,
            levels[number],
            link_merge.get(number, "add"),
            link_shortcut,
        )
        channels = starts[reads].channels
        try:
            if number > len(fields) - ups:
                planned = _plan_enlarging(stage, channels, joining, up[number], dropout, drop_path)
                planned = planned._replace(cut=encoder.get(levels[number], IMAGE))
            else:
                planned = _plan_stage(
                    stage,
                    channels,
                    joining,
                    fields[number - 2].layout if number > 1 else None,
                    not stem_steps and number == 1,
                    down=down,
                    compression=compression,
                    dropout=dropout,
                    drop_path=drop_path,
                )
        except DesignError as error:
            raise DesignError(f"{end_word(end)}: {error}") from None
        starts[end] = Start(end, planned.outputs, levels[number])
        drop_paths = (
            rate if block.merge else 0.0
            for rate, block in zip(rates[number - 1], planned.blocks, strict=True)
        )
        return planned._replace(drop_paths=tuple(drop_paths))

    stages, nodes = [], []
    for number, stage in enumerate(fields, 1):
        if number == len(fields) - ups + 1:
            sources = [source for source, _ in links]
            for end, read, joins, like in needed_nodes(sources, node_places(levels, ups)):
                there = node_fields(like, joins[0], fields, stem_width)
                planned = resolve(end, like, there, read, joins)
                nodes.append(Node(end, read, joins[0], like, planned))
        before = number - 1 if number > 1 or stem_steps else IMAGE
        coming = [source for source, target in links if target == number]
        stages.append(resolve(number, number, stage, before, coming))
    last = next(stage.layout for stage in reversed(fields) if stage.depth)
    channels = stages[-1].outputs
    to_output = [starts[source] for source, target in links if target == OUTPUT]
    if head[-1] in MAPS:
        level = levels[len(fields)]
        ending: Head | MapHead = plan_map_head(
            head, channels, head_width, dropout, last, level, to_output
        )
    else:
        ending = plan_head(head, channels, head_width, dropout, last)
    return Network(in_channels, stem_steps, tuple(stages), ending, tuple(nodes))


def _drop_path_rates(fields: Sequence[StageFields], last: float) -> list[list[float]]:
    """Return the rate of stochastic depth of each block of each stage, rising to ``last``."""
    positions = count(1)
    blocks = sum(stage.depth for stage in fields)
    return [[last * next(positions) / blocks for _ in range(stage.depth)] for stage in fields]


class _Joining(NamedTuple):
    """The long skips that end at a stage or a node; see ``plan_join``."""

    starts: list[Start]
    end: End
    level: int
    merge: str
    shortcut: str

    def plan(
        self, channels: int, block: Steps, after: Sequence[str], dropout: float
    ) -> Join | None:
        """Plan the join with a signal; None if there are no links.

        Args:
            channels: Channels of the signal.
            block: Operations whose last convolution has the norm of a projection.
            after: Operations of the layout on the joined signal.
            dropout: Rate of every ``dropout``.
        """
        if not self.starts:
            return None
        tokens = ["conv1" if step.op in ("conv", *TRANSPOSED) else step.op for step in block]
        norm = projection_norm(tokens) if "conv1" in tokens else ()
        return plan_join(
            self.starts,
            self.end,
            channels,
            self.level,
            norm,
            after,
            self.merge,
            self.shortcut,
            dropout,
        )


def _plan_stage(
    stage: StageFields,
    channels: int,
    joining: _Joining,
    previous: Layout | None,
    reads_image: bool,
    *,
    down: str,
    compression: float,
    dropout: float,
    drop_path: float,
) -> Stage:
    """Resolve the first stage, or one that halves; ``previous`` is the layout of the one before."""
    transition: Steps = ()
    stride = 1 if previous is None else 2
    if previous is not None and needs_transition(stage):
        transition = _plan_transition(channels, compression, previous, stage.layout, down)
        stride = 1
    elif previous is not None and down != "stride":
        transition, stride = DOWNS[down](channels), 1
    channels = transition[-1].outputs if transition else channels
    blocks = _plan_blocks(stage, channels, stride, dropout, reads_image)
    if not drop_path and not (joining.starts and stage.layout.after):
        blocks = _without_idle_shortcuts(blocks)
    join = None
    if joining.starts:
        # The layout's "after" acts on the joined signal, so it also comes after the links.
        after = stage.layout.after if blocks[-1].after else ()
        blocks[-1] = blocks[-1]._replace(after=())
        join = joining.plan(blocks[-1].outputs, blocks[-1].branch, after, dropout)
    return Stage(transition, tuple(blocks), (), join)


def _plan_enlarging(
    stage: StageFields,
    channels: int,
    joining: _Joining,
    up: str,
    dropout: float,
    drop_path: float,
) -> Stage:
    """Resolve a stage that enlarges, which joins its links before its blocks."""
    transition = plan_up(parse_run(up), channels, stage.inner, stage.width)
    channels = transition[-1].outputs
    # The first block as if links kept the number of channels: only then are they projected.
    like = plan_block(stage, channels, 1, dropout).branch if stage.depth else transition
    join = joining.plan(channels, like, (), dropout)
    blocks = _plan_blocks(stage, join.outputs if join else channels, 1, dropout)
    if not drop_path:
        blocks = _without_idle_shortcuts(blocks)
    return Stage(transition, tuple(blocks), (), join)


def _plan_blocks(
    stage: StageFields, channels: int, stride: int, dropout: float, reads_image: bool = False
) -> list[Block]:
    blocks: list[Block] = []
    while len(blocks) < stage.depth:
        first = not blocks
        block = plan_block(stage, channels, stride, dropout, first, first and reads_image)
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
    """Return whether a transition halves height and width because the blocks cannot."""
    return stage.layout.skip and not MERGES[stage.merge].carries


def _plan_transition(
    channels: int, compression: float, before: Layout, after: Layout, down: str
) -> Steps:
    """Return the steps of a transition.

    They are the head of the stage before, a 1x1 convolution, the stem of the stage after, and
    pooling. The pooling is an average (Huang et al. 2017, arXiv:1608.06993, section 3) unless
    ``down`` names another.
    """
    kept = kept_channels(channels, compression)
    return (
        *plan_run(head_tokens(before), channels, 0.0),
        Step("conv", channels, kept),
        *plan_run(stem_ending(after), kept, 0.0),
        *DOWNS["avgpool" if down == "stride" else down](kept),
    )


def kept_channels(channels: int, compression: float) -> int:
    """Return the output channels of a transition, at least 1."""
    return max(1, int(channels * compression))
