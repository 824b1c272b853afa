"""The plan of a network: every operation with its shapes resolved, in plain numbers, without torch.

The network, its cost, its drawing and its exported source are derived from the plan; ``planning``
builds it from the fields of a design.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from skipsearch.errors import SkipSearchError, shown_value

ImageSize = int | tuple[int, int]  # side of a square, or height and width, in pixels


class Size(NamedTuple):
    """Height and width, in pixels."""

    height: int
    width: int

    @classmethod
    def of(cls, image_size: ImageSize) -> Size:
        """Return the height and width of an image size."""
        return cls(image_size, image_size) if isinstance(image_size, int) else cls(*image_size)

    @property
    def image_size(self) -> ImageSize:
        """The same as an image size: one number for a square."""
        return self.height if self.height == self.width else (self.height, self.width)

    def __str__(self) -> str:
        return f"{self.height} x {self.width}"

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width


def check_count(name: str, value: object, error: type[SkipSearchError]) -> None:
    """Raise an error unless a value is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise error(f"{name}: {shown_value(value)} is not a positive whole number")


def check_image_size(image_size: ImageSize, error: type[SkipSearchError]) -> Size:
    """Return height and width; raise an error unless they are positive whole numbers."""
    if not isinstance(image_size, tuple):
        check_count("image_size", image_size, error)
    elif len(image_size) != 2:
        raise error(f"image_size: {shown_value(image_size)} is not one number, or height and width")
    else:
        for number in image_size:
            check_count("image_size", number, error)
    return Size.of(image_size)


class Step(NamedTuple):
    """One operation with its shapes resolved.

    ``op`` is a word of ``OPERATIONS``; a depthwise convolution is a ``conv`` whose ``groups`` are
    its channels. Height and width are divided by ``stride`` and multiplied by ``enlarge``.
    """

    op: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    rate: float = 0.0
    enlarge: int = 1

    def size(self, height: int, width: int) -> Size:
        """Return the output height and width: operations pad so that division rounds up."""
        return Size(
            -(-height // self.stride) * self.enlarge, -(-width // self.stride) * self.enlarge
        )


Steps = tuple[Step, ...]


def sized(steps: Steps, size: Size) -> Iterator[tuple[Step, Size]]:
    """Yield each operation of a chain with its output height and width."""
    for step in steps:
        size = step.size(*size)
        yield step, size


def size_after(steps: Steps, size: Size) -> Size:
    """Return the output height and width of a chain of operations."""
    for step in steps:
        size = step.size(*size)
    return size


class Block(NamedTuple):
    """One block: ``after(merge(branch(opening(x)), shortcut(x)))``.

    Attributes:
        opening: Operations before the branch's first convolution.
        branch: Operations from the first convolution on.
        shortcut: Operations of the shortcut; ``()`` for the identity, None without a shortcut.
        shares_opening: Whether the shortcut reads ``opening(x)`` (a projection) or ``x`` itself.
        merge: Join of branch and shortcut, a word of ``MERGES``; None without a shortcut.
        after: Operations on the joined signal.
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Factor by which height and width shrink.
        shortcut_scale: Factor of the shortcut if it is added.
        branch_scale: Factor of the branch if it is added.
        shortcut_dropout: Rate of dropout on the shortcut if it is added.
        gate_bias: Initial bias of the gate, a 1x1 convolution of the shortcut, if the merge has
            one.
        growth: Number of the branch's last channels that are concatenated instead of added: all
            of them with the merge ``cat``, those of the dense path with ``dual``.
    """

    opening: Steps
    branch: Steps
    shortcut: Steps | None
    shares_opening: bool
    merge: str | None
    after: Steps
    inputs: int
    outputs: int
    stride: int
    shortcut_scale: float = 1.0
    branch_scale: float = 1.0
    shortcut_dropout: float = 0.0
    gate_bias: float = 0.0
    growth: int = 0

    @property
    def changes_shape(self) -> bool:
        """Whether an added shortcut must have another shape than the input."""
        return self.inputs != self.outputs - self.growth or self.stride != 1

    @property
    def added(self) -> int:
        """Number of the branch's first channels, which are joined to those of the shortcut."""
        return self.branch[-1].outputs - self.growth

    @property
    def adds_plainly(self) -> bool:
        """Whether branch and shortcut are added unchanged."""
        return (self.shortcut_scale, self.branch_scale, self.shortcut_dropout) == (1.0, 1.0, 0.0)


# The end of a long skip: the number of a stage, 0 for the stem, a node such as "2.1", or one of the
# words below.
End = int | str
IMAGE = "x"
BEFORE_POOL = "s"  # the stem before its pool
OUTPUT = "y"


def end_word(end: End) -> str:
    """Return the name of the start of a long skip, such as ``stage 2``."""
    words: dict[End, str] = {0: "stem", BEFORE_POOL: "stem before its pool", IMAGE: "image"}
    return words.get(end, f"stage {end}" if isinstance(end, int) else f"node {end}")


def identifier(end: End) -> str:
    """Return an end as part of a name in code: ``2_1`` for the node ``2.1``."""
    return str(end).replace(".", "_")


class Link(NamedTuple):
    """A long skip from ``source`` through ``steps`` to a join, where it has ``outputs`` channels.

    If a step enlarges, height and width are cut to those of the join.
    """

    source: End
    steps: Steps
    outputs: int


class Join(NamedTuple):
    """The long skips that end at one stage: ``after(merge(x, links))``.

    Attributes:
        links: Long skips in the order of their sources.
        merge: Way of joining them, a word of ``LINK_MERGES``.
        after: Operations that the last block of the stage would otherwise apply after its join.
        inputs: Number of channels of the signal to which they are joined.
        outputs: Number of output channels of the join.
    """

    links: tuple[Link, ...]
    merge: str
    after: Steps
    inputs: int
    outputs: int


class Stage(NamedTuple):
    """A stage: its blocks at one resolution, and the long skips that end there.

    A stage that halves is ``join(blocks(transition(x)))``, and one that enlarges
    ``blocks(join(cut(transition(x))))``.

    Attributes:
        transition: Operations before the blocks.
        blocks: Blocks; a stage that enlarges may have none.
        drop_paths: Rate of stochastic depth of each block.
        join: Long skips that end at this stage.
        cut: Earlier end to whose height and width the output of the transition is cut, for a stage
            that enlarges; else None.
    """

    transition: Steps
    blocks: tuple[Block, ...]
    drop_paths: tuple[float, ...]
    join: Join | None = None
    cut: End | None = None

    @property
    def enlarges(self) -> bool:
        """Whether the stage doubles height and width."""
        return self.cut is not None

    @property
    def outputs(self) -> int:
        """Number of output channels."""
        if self.join and not (self.enlarges and self.blocks):
            return self.join.outputs
        return self.blocks[-1].outputs if self.blocks else self.transition[-1].outputs


class Node(NamedTuple):
    """A stage between the encoder and the decoder (Zhou et al. 2018, arXiv:1807.10165, Fig. 1a).

    Attributes:
        end: Its name as the start of long skips, such as ``2.1``.
        reads: End that it enlarges.
        start: End of the encoder at its level.
        like: Number of the stage with the same fields, which enlarges to the same level.
        stage: Its operations; it enlarges.
    """

    end: str
    reads: End
    start: End
    like: int
    stage: Stage


class Head(NamedTuple):
    """A head: ``linear(pooled(mean(steps(x))))``, with the mean over height and width.

    Attributes:
        steps: Operations before the global average pooling.
        pooled: Operations after the pooling.
        features: Input channels of the linear layer.
    """

    steps: Steps
    pooled: Steps
    features: int


class OutputLink(NamedTuple):
    """A long skip to the output: the image itself, or an enlarged 1x1 convolution of a signal.

    Attributes:
        source: End at which it starts.
        inputs: Channels of the signal.
        enlarge: Factor from the signal's height and width to the image's, before the cut.
    """

    source: End
    inputs: int
    enlarge: int

    def is_identity(self, outputs: int) -> bool:
        """Return whether it carries the image unchanged to this number of network outputs."""
        return self.source == IMAGE and self.inputs == outputs


class MapHead(NamedTuple):
    """A head with values for each pixel: ``cut(enlarge(map(steps(x)))) + links``.

    Attributes:
        steps: Operations before the map.
        kernel: Kernel of the map, a convolution with a bias.
        features: Input channels of the map.
        enlarge: Factor from the map's height and width to the image's, before the cut.
        links: Long skips to the output, which are added.
    """

    steps: Steps
    kernel: int
    features: int
    enlarge: int
    links: tuple[OutputLink, ...] = ()


class Network(NamedTuple):
    """A whole network: stem, stages and head.

    Attributes:
        in_channels: Number of image channels.
        stem: Operations before the first stage.
        stages: Stages in order.
        head: Operations after the last stage.
        nodes: Nodes in order; they are computed after the last stage that does not enlarge.
    """

    in_channels: int
    stem: Steps
    stages: tuple[Stage, ...]
    head: Head | MapHead
    nodes: tuple[Node, ...] = ()

    @property
    def named(self) -> dict[End, Stage]:
        """Stages and nodes by their names, in the order in which they are computed."""
        stages = dict(enumerate(self.stages, 1))
        encoder: dict[End, Stage] = {i: s for i, s in stages.items() if not s.enlarges}
        nodes = {node.end: node.stage for node in self.nodes}
        return encoder | nodes | {i: s for i, s in stages.items() if s.enlarges}

    @property
    def sources(self) -> frozenset[End]:
        """Ends at which long skips start, or that nodes enlarge."""
        joins = [stage.join for stage in self.named.values() if stage.join]
        to_output = self.head.links if isinstance(self.head, MapHead) else ()
        starts = {link.source for join in joins for link in join.links}
        starts |= {link.source for link in to_output} | {node.reads for node in self.nodes}
        return frozenset(starts)
