"""Chains of operations that keep the number of channels."""

from __future__ import annotations

from collections.abc import Sequence

from skipsearch.errors import unknown_word
from skipsearch.layout import PLAIN_TOKENS, is_convolution, split_convolution
from skipsearch.plan import Step, Steps


def plan_run(tokens: Sequence[str], channels: int, dropout: float) -> Steps:
    """Resolve a run of the notation; its convolutions keep the number of channels.

    Args:
        tokens: Operations of the run.
        channels: Number of input channels.
        dropout: Rate of every ``dropout`` in the run.
    """
    steps: list[Step] = []
    for token in tokens:
        if is_convolution(token):
            kind, kernel = split_convolution(token)
            groups = channels if kind == "dw" else 1
            steps.append(Step("conv", channels, channels, kernel, 1, groups))
        else:
            steps += plain_step(token, channels, dropout)
    return tuple(steps)


def plain_step(token: str, channels: int, dropout: float) -> Steps:
    """Resolve an operation that is not a convolution; a dropout of rate 0 is omitted."""
    if token == "dropout":
        return (Step(token, channels, channels, rate=dropout),) if dropout else ()
    if token not in PLAIN_TOKENS:
        raise unknown_word("operation", token)
    return (Step(token, channels, channels),)
