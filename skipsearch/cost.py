"""The cost of a design, counted from its plan without tensors or torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.fields import spread
from skipsearch.layout import is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.operations import OPERATIONS, TRANSPOSED
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    Block,
    End,
    Head,
    ImageSize,
    Join,
    MapHead,
    Network,
    Size,
    Stage,
    Steps,
    check_count,
    check_image_size,
    size_after,
    sized,
)
from skipsearch.planning import needs_transition

FLOAT32_BYTES = 4
CONVOLVING = (*TRANSPOSED, "shuffle")  # words that enlarge with a convolution


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a network, or of a part of one.

    Attributes:
        params: Number of trainable parameters.
        macs: Multiply-adds of the convolutions and linear layers for one image; norms,
            activations and poolings are not counted (as in the papers' tables).
        activation_bytes: Bytes written by all operations of one forward pass of one image, in
            float32. Training keeps a part of them for the backward pass, see ``holding``.
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
    """Count the layers of a design as the literature does: ResNet-110 has 110, U-Net 23.

    The convolutions on the path from the image to the classifier and the classifier itself are
    counted (He et al. 2015, arXiv:1512.03385, section 4.2). Shortcuts, long skips and the inside
    of ``se`` are not on that path, so plain and residual networks of equal depth have equal counts.
    """
    # Counted from the notation alone, for thousands of designs: it does not depend on shapes.
    tokens = [*parse_run(design.stem), *parse_run(design.head)]
    down = len(design.depths) - design.ups
    transitions = sum(map(needs_transition, design.stages[1:down]))
    for stage in design.stages:
        tokens += (*stage.layout.branch, *stage.layout.after) * stage.depth
    for up in spread(design.up, design.ups):
        tokens += parse_run(up)
    return 1 + transitions + sum(is_convolution(t) or t in CONVOLVING for t in tokens)


# --- the parts of a network -----------------------------------------------------------------------


class Part(NamedTuple):
    """A part of a network: its cost, and the sizes of its input and output."""

    cost: Cost
    entering: Size
    leaving: Size


class StageParts(NamedTuple):
    """The parts of a stage, as in its plan, and the size of its output."""

    transition: Part
    blocks: tuple[Part, ...]
    join: Part
    leaving: Size


class Parts(NamedTuple):
    """The parts of a network, as in its plan.

    The output begins with the pooling, or with the map, and includes the long skips that end there.
    """

    stem: Part
    stages: tuple[StageParts, ...]
    head: Part
    output: Part
    nodes: tuple[StageParts, ...] = ()

    @property
    def cost(self) -> Cost:
        """Total cost of the parts."""
        parts = [self.stem, self.head, self.output]
        for stage in (*self.stages, *self.nodes):
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
    sizes: dict[End, Size] = {  # of every end of a long skip
        IMAGE: size,
        BEFORE_POOL: size_after(plan.stem[:-1], size),
        0: stem.leaving,
    }
    image, size = size, stem.leaving
    reads = {node.end: node.reads for node in plan.nodes}
    measured: dict[End, StageParts] = {}
    for end, stage in plan.named.items():
        if end in reads:
            measured[end] = _measure_stage(stage, sizes, sizes[reads[end]])
            sizes[end] = measured[end].leaving
        else:
            measured[end] = _measure_stage(stage, sizes, size)
            size = sizes[end] = measured[end].leaving
    stages = tuple(measured[number] for number in range(1, len(plan.stages) + 1))
    nodes = tuple(measured[node.end] for node in plan.nodes)
    head = measure_steps(plan.head.steps, size)
    if isinstance(plan.head, MapHead):
        output = _measure_map(plan.head, head.leaving, image, sizes, classes)
    else:
        output = _measure_classifier(plan.head, head.leaving, classes)
    return Parts(stem, stages, head, output, nodes)


def _measure_stage(stage: Stage, sizes: Mapping[End, Size], size: Size) -> StageParts:
    """Measure a stage with an input of ``size``."""
    transition = measure_steps(stage.transition, size)
    size = transition.leaving if stage.cut is None else sizes[stage.cut]
    join = measure_join(stage.join, sizes, size) if stage.enlarges else None
    blocks = []
    for block in stage.blocks:
        blocks.append(measure_block(block, size))
        size = blocks[-1].leaving
    join = join or measure_join(stage.join, sizes, size)
    return StageParts(transition, tuple(blocks), join, size)


def _measure_classifier(head: Head, size: Size, classes: int) -> Part:
    """Measure the global average pooling, what follows it, and the linear layer with its bias."""
    pooled = measure_steps(head.pooled, Size(1, 1))
    channels = head.pooled[0].inputs if head.pooled else head.features
    weights = head.features * classes
    linear = Cost(weights + classes, weights, FLOAT32_BYTES * (channels + classes))
    return Part(pooled.cost + linear, size, pooled.leaving)


def _measure_map(
    head: MapHead, size: Size, image: Size, sizes: Mapping[End, Size], classes: int
) -> Part:
    """Measure the map with its bias, its enlarging, and the long skips to the output."""
    total = _measure_pixelwise(head.features, classes, head.kernel, head.enlarge, size)
    for link in head.links:
        if not link.is_identity(classes):
            total += _measure_pixelwise(link.inputs, classes, 1, link.enlarge, sizes[link.source])
        total += Cost(activation_bytes=FLOAT32_BYTES * classes * image.pixels)
    return Part(total, size, image)


def _measure_pixelwise(inputs: int, outputs: int, kernel: int, factor: int, size: Size) -> Cost:
    """Measure a convolution with a bias, and the enlarging of its output before the cut."""
    weights = inputs * outputs * kernel**2
    enlarged = factor**2 * size.pixels if factor > 1 else 0
    written = FLOAT32_BYTES * outputs * (size.pixels + enlarged)
    return Cost(weights + outputs, weights * size.pixels, written)


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


def measure_join(join: Join | None, sizes: Mapping[End, Size], size: Size) -> Part:
    """Measure the join of long skips, if there is one.

    Args:
        join: Join in the plan of a stage.
        sizes: Size at each end of a long skip so far.
        size: Size of the signal that they join.
    """
    if join is None:
        return Part(Cost(), size, size)
    merge = LINK_MERGES[join.merge]
    after = measure_steps(join.after, size)
    links = [measure_steps(link.steps, sizes[link.source]) for link in join.links]
    written = FLOAT32_BYTES * merge.writes(join) * size.pixels
    joined = Cost(merge.params(join), merge.macs(join) * size.pixels, written)
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
