"""The cost of a design, counted from its plan without tensors or torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.layout import is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.operations import OPERATIONS
from skipsearch.plan import (
    Block,
    ImageSize,
    Join,
    Network,
    Size,
    Steps,
    check_count,
    check_image_size,
    sized,
)
from skipsearch.planning import needs_transition

FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a network, or of a part of one.

    Attributes:
        params: Number of trainable parameters.
        macs: Multiply-adds of the convolutions and linear layers for one image; norms,
            activations and poolings are not counted (as in the papers' tables).
        activation_bytes: Bytes written by all operations of one forward pass of one image, in
            float32: what training keeps for the backward pass.
    """

    params: int = 0
    macs: int = 0
    activation_bytes: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.params + other.params,
            self.macs + other.macs,
            self.activation_bytes + other.activation_bytes,
        )


def cost(
    design: Design, in_channels: int = 3, image_size: ImageSize = 32, classes: int = 10
) -> Cost:
    """Count the parameters, multiply-adds and activation bytes of a design.

    Args:
        design: Design of the network.
        in_channels: Number of image channels.
        image_size: Side of square images in pixels, or height and width.
        classes: Number of outputs.

    Raises:
        DesignError: If a size is not a positive whole number.
    """
    for name, value in (("in_channels", in_channels), ("classes", classes)):
        check_count(name, value, DesignError)
    size = check_image_size(image_size, DesignError)
    return measure_network(design.plan(in_channels), size, classes).cost


def layers(design: Design) -> int:
    """Count the layers of a design as the literature does: ResNet-110 has 110.

    The convolutions on the path from the image to the classifier and the classifier itself are
    counted (He et al. 2015, arXiv:1512.03385, section 4.2). Shortcuts, long skips and the inside
    of ``se`` are not on that path, so plain and residual networks of equal depth have equal counts.
    """
    # Counted from the notation alone, for thousands of designs: it does not depend on shapes.
    tokens = [*parse_run(design.stem), *parse_run(design.head)]
    transitions = 0
    for index, stage in enumerate(design.stages):
        tokens += (*stage.layout.branch, *stage.layout.after) * stage.depth
        transitions += index > 0 and needs_transition(stage)
    return 1 + transitions + sum(map(is_convolution, tokens))


# --- the parts of a network -----------------------------------------------------------------------


class Part(NamedTuple):
    """A part of a network: its cost, and the sizes of its input and output."""

    cost: Cost
    entering: Size
    leaving: Size


class StageParts(NamedTuple):
    """The parts of a stage, as in its plan."""

    transition: Part
    blocks: tuple[Part, ...]
    join: Part


class Parts(NamedTuple):
    """The parts of a network, as in its plan; the classifier begins with the pooling."""

    stem: Part
    stages: tuple[StageParts, ...]
    head: Part
    classifier: Part

    @property
    def cost(self) -> Cost:
        """Total cost of the parts."""
        parts = [self.stem, self.head, self.classifier]
        for stage in self.stages:
            parts += (stage.transition, *stage.blocks, stage.join)
        return total_cost(parts)


def measure_network(plan: Network, size: Size, classes: int) -> Parts:
    """Measure the cost and the sizes of each part of a network.

    Args:
        plan: Plan of a design.
        size: Height and width of the images.
        classes: Number of outputs.
    """
    stem = measure_steps(plan.stem, size)
    size = stem.leaving
    sizes = [size]  # output sizes of the stem and of each stage
    stages = []
    for stage in plan.stages:
        transition = measure_steps(stage.transition, size)
        size = transition.leaving
        blocks = []
        for block in stage.blocks:
            blocks.append(measure_block(block, size))
            size = blocks[-1].leaving
        stages.append(StageParts(transition, tuple(blocks), measure_join(stage.join, sizes, size)))
        sizes.append(size)
    head = measure_steps(plan.head.steps, size)
    return Parts(stem, tuple(stages), head, _measure_classifier(plan, head.leaving, classes))


def _measure_classifier(plan: Network, size: Size, classes: int) -> Part:
    """Measure the global average pooling, what follows it, and the linear layer with its bias."""
    pooled = measure_steps(plan.head.pooled, Size(1, 1))
    channels = plan.head.pooled[0].inputs if plan.head.pooled else plan.head.features
    weights = plan.head.features * classes
    linear = Cost(weights + classes, weights, FLOAT32_BYTES * (channels + classes))
    return Part(pooled.cost + linear, size, pooled.leaving)


@lru_cache(maxsize=8192)
def measure_block(block: Block, size: Size) -> Part:
    """Measure one block with an input of ``size``."""
    opening = measure_steps(block.opening, size)
    branch = measure_steps(block.branch, opening.leaving)
    shortcut = measure_steps(block.shortcut or (), size)
    after = measure_steps(block.after, branch.leaving)
    join = Cost()
    if block.merge is not None:
        merge, pixels = MERGES[block.merge], branch.leaving.pixels
        written = FLOAT32_BYTES * merge.writes(block) * pixels
        join = Cost(merge.params(block), merge.macs(block) * pixels, written)
    return Part(total_cost([opening, branch, shortcut, after]) + join, size, after.leaving)


def measure_join(join: Join | None, sizes: Sequence[Size], size: Size) -> Part:
    """Measure the join of long skips, if there is one.

    Args:
        join: Join in the plan of a stage.
        sizes: Output sizes of the stem and of each earlier stage.
        size: Output size of the blocks of the stage.
    """
    if join is None:
        return Part(Cost(), size, size)
    after = measure_steps(join.after, size)
    links = [measure_steps(link.steps, sizes[link.source]) for link in join.links]
    # Links are added one by one but concatenated all at once.
    sums = len(links) if LINK_MERGES[join.merge].carries else 1
    joined = Cost(activation_bytes=FLOAT32_BYTES * sums * join.outputs * size.pixels)
    return Part(total_cost([*links, after]) + joined, size, after.leaving)


def measure_steps(steps: Steps, size: Size) -> Part:
    """Measure a chain of operations with an input of ``size``."""
    params = macs = written = 0
    leaving = size
    for step, leaving in sized(steps, size):
        operation = OPERATIONS[step.op]
        params += operation.params(step)
        macs += operation.macs(step, leaving.pixels)
        written += step.outputs * leaving.pixels
    return Part(Cost(params, macs, FLOAT32_BYTES * written), size, leaving)


def total_cost(parts: Iterable[Part]) -> Cost:
    """Return the total cost of parts."""
    costs = [part.cost for part in parts]
    return Cost(
        sum(cost.params for cost in costs),
        sum(cost.macs for cost in costs),
        sum(cost.activation_bytes for cost in costs),
    )
