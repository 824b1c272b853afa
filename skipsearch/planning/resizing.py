"""Halving and doubling of height and width by a stage."""

from __future__ import annotations

from collections.abc import Callable

from skipsearch.layout import is_convolution, split_convolution
from skipsearch.operations import ENLARGING, TRANSPOSED
from skipsearch.plan import Step, Steps
from skipsearch.planning.chains import plain_step
from skipsearch.table import Table

FACTOR = 2

# Pooling of a stage that halves, given its channels; none if a convolution has the stride.
DOWNS: Table[Callable[[int], Steps]] = Table(
    "down",
    {
        "stride": lambda channels: (),
        "maxpool": lambda channels: (Step("maxpool2", channels, channels, FACTOR, FACTOR),),
        "avgpool": lambda channels: (Step("avgpool", channels, channels, FACTOR, FACTOR),),
    },
)


def plan_up(tokens: tuple[str, ...], inputs: int, inner: int, width: int) -> Steps:
    """Resolve the operations by which a stage enlarges.

    As in a block, the last dense convolution outputs ``width`` channels, those before it
    ``inner``. A transposed convolution counts as dense, and so does the convolution before
    ``shuffle`` (Shi et al. 2016, arXiv:1609.05158). Without any, the number of channels is kept.

    Args:
        tokens: Operations.
        inputs: Number of input channels.
        inner: Number of channels inside the branches of the stage.
        width: Number of output channels of the branches of the stage.
    """
    dense_left = sum(map(_is_dense, tokens))
    steps: list[Step] = []
    channels = inputs
    for token in tokens:
        dense_left -= _is_dense(token)
        outputs = (inner if dense_left else width) if _is_dense(token) else channels
        if token == "shuffle":
            pixels = outputs * FACTOR**2
            steps.append(Step("conv", channels, pixels))
            steps.append(Step(token, pixels, outputs, enlarge=FACTOR))
        elif token in ENLARGING:
            kernel = int(token[2:]) if token in TRANSPOSED else 1
            steps.append(Step(token, channels, outputs, kernel, enlarge=FACTOR))
        elif is_convolution(token):
            kind, kernel = split_convolution(token)
            groups = channels if kind == "dw" else 1
            steps.append(Step("conv", channels, outputs, kernel, groups=groups))
        else:
            steps += plain_step(token, channels, 0.0)
        channels = outputs
    return tuple(steps)


def _is_dense(token: str) -> bool:
    return token.startswith("conv") or token == "shuffle" or token in TRANSPOSED
