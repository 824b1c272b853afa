"""Memory of training: the bytes that a forward pass saves for the backward pass, without torch.

A signal is held in memory if the operation that writes it, or one that reads it, needs it for its
gradient (``torch.autograd.graph.saved_tensors_hooks`` shows the same ones). All others are freed at
once. Each signal is counted once, even if several operations need it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from skipsearch.cost import FLOAT32_BYTES
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.operations import OPERATIONS
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    Block,
    End,
    Head,
    Join,
    MapHead,
    Network,
    Size,
    Stage,
    Steps,
)
from skipsearch.task import Task

INT64_BYTES = 8


def held_bytes(
    plan: Network, size: Size, outputs: int, task: Task, loss: str = "", itemsize: int = 4
) -> int:
    """Return the bytes that training holds for each image at the peak of a step.

    The peak is at the start of the backward pass. It includes all signals that the network saved,
    and the larger of two parts: the values and gradients of the loss, or the outputs and the
    gradients of the largest signal.

    Args:
        plan: Plan of a design.
        size: Height and width of the images.
        outputs: Number of outputs of the network.
        task: Task of the training.
        loss: Loss of the recipe.
        itemsize: Bytes of a value of a signal; the loss computes in float32.
    """
    held = network_holds(plan, size, outputs, itemsize)
    pixels = size.pixels if task.per_pixel else 1
    logits = outputs * FLOAT32_BYTES * pixels
    targets = INT64_BYTES * pixels
    if task.restores:
        targets = plan.in_channels * FLOAT32_BYTES * pixels
    elif not (task.per_pixel or task.classifies):
        targets = outputs * FLOAT32_BYTES
    # The network keeps the inputs themselves, and in another precision a copy of them.
    counted = held.image.kept and itemsize == FLOAT32_BYTES
    inputs = 0 if counted else plan.in_channels * size.pixels * FLOAT32_BYTES
    gradients = max(task.float32_values(loss) * logits, logits + 2 * held.largest)
    return held.bytes + inputs + targets + gradients


def network_holds(plan: Network, size: Size, outputs: int, itemsize: int = 4) -> Held:
    """Return the memory that the forward pass of one image holds; see ``held_bytes``."""
    image = signal = Signal(plan.in_channels, size)
    held = Held(itemsize, image)
    ends: dict[End, Signal] = {IMAGE: image, BEFORE_POOL: image}
    if plan.stem:
        ends[BEFORE_POOL] = held.run(plan.stem[:-1], image)
        signal = held.run(plan.stem[-1:], ends[BEFORE_POOL])
    ends[0] = signal
    reads = {node.end: node.reads for node in plan.nodes}
    for end, stage in plan.named.items():
        if end in reads:
            ends[end] = _stage(held, stage, ends[reads[end]], ends)
        else:
            signal = ends[end] = _stage(held, stage, signal, ends)
    features = held.run(plan.head.steps, signal)
    if isinstance(plan.head, MapHead):
        held.keep(features)
        for link in plan.head.links:
            if not link.is_identity(outputs):
                held.keep(ends[link.source])
    else:
        _classifier(held, plan.head, features)
    return held


@dataclass(eq=False, slots=True)
class Signal:
    """A tensor of one image; a part that is cut out of it keeps the whole tensor in memory.

    Attributes:
        channels: Number of channels.
        size: Height and width.
        kept: Whether it is held.
    """

    channels: int
    size: Size
    kept: bool = False


@dataclass(slots=True)
class Held:
    """The bytes held so far.

    Attributes:
        itemsize: Bytes of a value.
        image: Input of the network.
        bytes: Bytes that are held.
        largest: Bytes of the largest signal.
    """

    itemsize: int
    image: Signal
    bytes: int = 0
    largest: int = 0

    def write(self, channels: int, size: Size) -> Signal:
        """Return a new signal."""
        self.largest = max(self.largest, channels * size.pixels * self.itemsize)
        return Signal(channels, size)

    def keep(self, *signals: Signal) -> None:
        """Hold signals, each once."""
        for signal in signals:
            if not signal.kept:
                signal.kept = True
                self.bytes += signal.channels * signal.size.pixels * self.itemsize

    def run(self, steps: Steps, signal: Signal) -> Signal:
        """Apply a chain of operations; return its output."""
        for step in steps:
            operation = OPERATIONS[step.op]
            if operation.saves_input:
                self.keep(signal)
            signal = self.write(step.outputs, step.size(*signal.size))
            if operation.saves_output:
                self.keep(signal)
            self.bytes += operation.saves_beside(step, self.itemsize) * signal.size.pixels
        return signal

    def add(self, channels: int, size: Size) -> None:
        """Hold further values."""
        self.bytes += channels * size.pixels * self.itemsize


def _stage(held: Held, stage: Stage, signal: Signal, ends: dict[End, Signal]) -> Signal:
    signal = held.run(stage.transition, signal)
    if stage.cut is not None:
        signal = _cut(signal, ends[stage.cut].size)
        signal = _join(held, stage.join, signal, ends)
    for block in stage.blocks:
        signal = _block(held, block, signal)
    return signal if stage.enlarges else _join(held, stage.join, signal, ends)


def _cut(signal: Signal, size: Size) -> Signal:
    """Return a signal cut to a size; the rows and columns that are cut off are not counted."""
    return signal if signal.size == size else Signal(signal.channels, size, signal.kept)


def _block(held: Held, block: Block, signal: Signal) -> Signal:
    opened = held.run(block.opening, signal)
    branch = held.run(block.branch, opened)
    if block.merge is None:
        return held.run(block.after, branch)
    merge = MERGES[block.merge]
    shortcut = held.run(block.shortcut or (), opened if block.shares_opening else signal)
    if merge.saves_branch:
        held.keep(branch)
    if merge.saves_shortcut:
        held.keep(shortcut)
    held.add(merge.saves_further(block), branch.size)
    return held.run(block.after, held.write(block.outputs, branch.size))


def _join(held: Held, join: Join | None, signal: Signal, ends: dict[End, Signal]) -> Signal:
    if join is None:
        return signal
    merge = LINK_MERGES[join.merge]
    links: Sequence[Signal] = [
        _cut(held.run(link.steps, ends[link.source]), signal.size) for link in join.links
    ]
    if merge.saves_all:
        held.keep(signal, *links)
    held.add(merge.saves_further(join), signal.size)
    return held.run(join.after, held.write(join.outputs, signal.size))


def _classifier(held: Held, head: Head, features: Signal) -> None:
    pooled = held.write(features.channels, Size(1, 1))
    held.keep(held.run(head.pooled, pooled))
