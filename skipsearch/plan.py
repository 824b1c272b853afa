"""The plan of a network: every operation with its shapes resolved, in plain numbers, without torch.

The network, its cost, its drawing and its exported source are all read from the plan; ``planning``
makes it from the fields of a design.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple


class Size(NamedTuple):
    """Height and width, in pixels."""

    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Number of pixels."""
        return self.height * self.width


class Step(NamedTuple):
    """One operation with its shapes resolved.

    ``op`` is a word of ``OPERATIONS``; a depthwise convolution is a ``conv`` whose ``groups`` are
    its channels.
    """

    op: str
    inputs: int
    outputs: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    rate: float = 0.0

    def size(self, height: int, width: int) -> Size:
        """Return what height and width become: operations pad so that sizes divide upwards."""
        return Size(-(-height // self.stride), -(-width // self.stride))


Steps = tuple[Step, ...]


def sized(steps: Steps, size: Size) -> Iterator[tuple[Step, Size]]:
    """Yield each operation of a chain with the height and width that leave it."""
    for step in steps:
        size = step.size(*size)
        yield step, size


def size_after(steps: Steps, size: Size) -> Size:
    """Return the height and width that leave a chain of operations."""
    for step in steps:
        size = step.size(*size)
    return size


class Block(NamedTuple):
    """One block: ``after(merge(branch(opening(x)), shortcut(x)))``.

    Attributes:
        opening: What stands before the branch's first convolution.
        branch: From the first convolution on.
        shortcut: The shortcut's operations, ``()`` for the identity, None where nothing joins.
        shares_opening: Whether the shortcut reads ``opening(x)`` (a projection) or ``x`` itself.
        merge: How branch and shortcut are joined, None where nothing joins.
        after: The operations on the joined signal.
        inputs: Channels that enter.
        outputs: Channels that leave.
        stride: Factor by which height and width shrink.
        shortcut_scale: Factor of the shortcut where it is added.
        branch_scale: Factor of the branch where it is added.
        shortcut_dropout: Rate of dropout on the shortcut where it is added.
        gate_bias: What the bias of its gate starts at, a 1x1 convolution of the shortcut, where
            the merge has one.
        growth: Number of the branch's channels, its last, that are concatenated and not added:
            all of them under the merge ``cat``, those of the dense path under ``dual``.
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
        """Whether a shortcut that is added must carry another shape than the one that enters."""
        return self.inputs != self.outputs - self.growth or self.stride != 1

    @property
    def added(self) -> int:
        """Number of the branch's channels, its first, that are joined to those of the shortcut."""
        return self.branch[-1].outputs - self.growth

    @property
    def adds_plainly(self) -> bool:
        """Whether branch and shortcut are added as they are."""
        return (self.shortcut_scale, self.branch_scale, self.shortcut_dropout) == (1.0, 1.0, 0.0)


class Link(NamedTuple):
    """A long skip: from the output of a stage (0 is the stem) through ``steps`` to a join."""

    source: int
    steps: Steps


class Join(NamedTuple):
    """The long skips that end at one stage: ``after(merge(stage(x), links))``.

    Attributes:
        links: What is joined, in the order of their sources.
        merge: How they are joined, a word of ``LINK_MERGES``.
        after: What the last block of the stage would do behind its own join.
        inputs: Channels that leave the blocks of the stage.
        outputs: Channels that leave the join.
    """

    links: tuple[Link, ...]
    merge: str
    after: Steps
    inputs: int
    outputs: int


class Stage(NamedTuple):
    """Blocks at one resolution, the transition that leads to them, their drop rates, the join."""

    transition: Steps
    blocks: tuple[Block, ...]
    drop_paths: tuple[float, ...]
    join: Join | None = None

    @property
    def outputs(self) -> int:
        """Channels that leave the stage."""
        return self.join.outputs if self.join else self.blocks[-1].outputs


class Head(NamedTuple):
    """A head: ``linear(pooled(mean(steps(x))))``, with the mean over height and width.

    Attributes:
        steps: The operations before the global average pooling.
        pooled: The operations behind it.
        features: Channels that enter the linear layer.
    """

    steps: Steps
    pooled: Steps
    features: int


class Network(NamedTuple):
    """A whole network: stem, stages and head."""

    stem: Steps
    stages: tuple[Stage, ...]
    head: Head
