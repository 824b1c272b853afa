"""What a design costs, counted from its plan: no tensor is made, and torch is not imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from skipsearch.design import Design
from skipsearch.errors import DesignError, shown_value, unknown_word
from skipsearch.layout import is_convolution, parse_run
from skipsearch.merges import LINK_MERGES, MERGES
from skipsearch.plan import Block, Join, Network, Step, Steps
from skipsearch.planning import needs_transition

SE_REDUCTION = 16  # Hu et al. 2018, arXiv:1709.01507, section 6.1
FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """What one network costs.

    Attributes:
        params: Trainable parameters.
        macs: Multiply-adds of the convolutions and linear layers for one image; norms,
            activations and poolings are not counted (as in the papers' tables).
        activation_bytes: Bytes that all operations of one forward pass of one image write, in
            float32: what training holds for the backward pass.
    """

    params: int
    macs: int
    activation_bytes: int


def cost(design: Design, in_channels: int = 3, image_size: int = 32, classes: int = 10) -> Cost:
    """Count the parameters, multiply-adds and activation bytes of a design.

    Args:
        design: What would be built.
        in_channels: Channels of the images.
        image_size: Height and width of the images, in pixels.
        classes: Outputs of the network.

    Raises:
        DesignError: If a size is not a positive whole number.
    """
    for name, value in (
        ("in_channels", in_channels),
        ("image_size", image_size),
        ("classes", classes),
    ):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DesignError(f"{name}: {shown_value(value)} is not a positive whole number")
    return _cost(design.plan(in_channels), image_size, classes)


def layers(design: Design) -> int:
    """Count the layers of a design as the literature does: ResNet-110 has 110.

    Convolutions on the way from the image to the classifier, and the classifier itself (He et al.
    2015, arXiv:1512.03385, section 4.2). What stands in a shortcut or a long skip is not on that
    way, so that plain and residual networks of equal depth count alike; nor is what is inside
    ``se``.
    """
    # By the notation alone, for thousands of designs: the shapes of a plan change none of it.
    tokens = [*parse_run(design.stem), *parse_run(design.head)]
    transitions = 0
    for index, stage in enumerate(design.stages):
        tokens += (*stage.layout.branch, *stage.layout.after) * stage.depth
        transitions += index > 0 and needs_transition(stage)
    return 1 + transitions + sum(map(is_convolution, tokens))


def _cost(network: Network, size: int, classes: int) -> Cost:
    totals = [0, 0, 0]

    def add(counted: tuple[int, int, int, int]) -> int:
        for i in range(3):
            totals[i] += counted[i]
        return counted[3]

    size = add(steps_cost(network.stem, size))
    sizes = [size]  # of what the stem and each stage put out
    for stage in network.stages:
        size = add(steps_cost(stage.transition, size))
        for block in stage.blocks:
            size = add(block_cost(block, size))
        if stage.join:
            add(join_cost(stage.join, sizes, size))
        sizes.append(size)
    add(steps_cost(network.head, size))
    # Global average pooling, then the linear layer with its bias.
    pooled = network.pooled[0].inputs if network.pooled else network.features
    totals[2] += pooled
    add(steps_cost(network.pooled, 1))
    totals[0] += network.features * classes + classes
    totals[1] += network.features * classes
    totals[2] += classes
    return Cost(totals[0], totals[1], totals[2] * FLOAT32_BYTES)


@lru_cache(maxsize=8192)
def block_cost(block: Block, size: int) -> tuple[int, int, int, int]:
    """Count one block.

    Returns:
        Parameters, multiply-adds, elements written, and the height and width that leave.
    """
    opening = steps_cost(block.opening, size)
    branch = steps_cost(block.branch, size)
    shortcut = steps_cost(block.shortcut or (), size)
    after = steps_cost(block.after, branch[3])
    pixels = branch[3] ** 2
    params = macs = written = 0
    if block.merge is not None:
        merge = MERGES[block.merge]
        params = merge.params(block)
        macs = merge.macs(block) * pixels
        written = merge.writes(block) * pixels
    return (
        opening[0] + branch[0] + shortcut[0] + params + after[0],
        opening[1] + branch[1] + shortcut[1] + macs + after[1],
        opening[2] + branch[2] + shortcut[2] + written + after[2],
        branch[3],
    )


def join_cost(join: Join, sizes: Sequence[int], size: int) -> tuple[int, int, int, int]:
    """Count the join of long skips; returns as ``block_cost`` does.

    Args:
        join: From the plan of a stage.
        sizes: Height and width of what the stem and each stage before put out.
        size: Those of the stage itself.
    """
    after = steps_cost(join.after, size)
    counted = [steps_cost(link.steps, sizes[link.source]) for link in join.links]
    # Links are added one by one, and concatenated at once.
    sums = len(join.links) if LINK_MERGES[join.merge].carries else 1
    return (
        sum(each[0] for each in counted) + after[0],
        sum(each[1] for each in counted) + after[1],
        sum(each[2] for each in counted) + sums * join.outputs * size**2 + after[2],
        size,
    )


def steps_cost(steps: Steps, size: int) -> tuple[int, int, int, int]:
    """Count a chain of operations; returns as ``block_cost`` does."""
    params = macs = elements = 0
    for step in steps:
        size = -(-size // step.stride)  # every operation pads so that sizes divide upwards
        counted = step_params(step)
        params += counted
        if step.op == "conv":
            macs += counted * size * size
        elif step.op == "se":
            macs += 2 * step.inputs * se_width(step.inputs)
        elements += step.outputs * size * size
    return params, macs, elements, size


def step_params(step: Step) -> int:
    """Trainable parameters of one operation."""
    match step.op:
        case "conv":
            return step.outputs * (step.inputs // step.groups) * step.kernel**2
        case "bn" | "bn0" | "gn" | "ln":
            return 2 * step.outputs
        case "scale":
            return 1
        case "se":
            inner = se_width(step.inputs)
            return 2 * step.inputs * inner + inner + step.inputs
        case "relu" | "relu6" | "gelu" | "silu" | "dropout" | "pad" | "maxpool" | "avgpool":
            return 0
        case _:
            raise unknown_word("operation", step.op)


def se_width(channels: int) -> int:
    """Channels inside squeeze-and-excitation, at least 1."""
    return max(1, channels // SE_REDUCTION)
