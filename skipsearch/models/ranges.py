"""What a plan alone says of the values of a signal: never negative, from 0 to 6, or nothing."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from skipsearch.errors import unknown_word
from skipsearch.plan import Join, Steps

BENT_LOW = -0.3  # below the least values of gelu (-0.170) and silu (-0.279)


class Range(NamedTuple):
    """Bounds that hold for every image, whatever the weights are, in evaluation."""

    low: float
    high: float

    def plus(self, other: Range) -> Range:
        """Of the sum."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        """Of the product with a constant."""
        if factor == 0:
            return ZERO
        ends = self.low * factor, self.high * factor
        return Range(min(ends), max(ends))

    def hull(self, other: Range) -> Range:
        """Of either, or of what lies between them."""
        return Range(min(self.low, other.low), max(self.high, other.high))


ANY = Range(-inf, inf)
ZERO = Range(0.0, 0.0)


def keeps(op: str, signal: Range) -> bool:
    """Whether an operation that no weights can make the identity leaves every value as it is."""
    match op:
        case "relu":
            return signal.low >= 0
        case "relu6":
            return signal.low >= 0 and signal.high <= 6
        case "dropout":
            return True
        case "gelu" | "silu" | "se" | "gn" | "ln" | "pad" | "maxpool" | "avgpool":
            return False
        case _:
            raise unknown_word("operation", op)


def through(steps: Steps, signal: Range) -> Range:
    """The range behind a run of operations."""
    for step in steps:
        signal = _through(step.op, signal)
    return signal


def _through(op: str, signal: Range) -> Range:
    match op:
        case "relu":
            return Range(max(signal.low, 0.0), max(signal.high, 0.0))
        case "relu6":
            return Range(min(max(signal.low, 0.0), 6.0), min(max(signal.high, 0.0), 6.0))
        case "gelu" | "silu":
            return Range(0.0 if signal.low >= 0 else BENT_LOW, max(signal.high, 0.0))
        case "se" | "pad":  # weighs by 0 to 1; adds zeros
            return signal.hull(ZERO)
        case "dropout" | "maxpool" | "avgpool":
            return signal
        case "conv" | "bn" | "bn0" | "gn" | "ln" | "scale":  # weights of either sign
            return ANY
        case _:
            raise unknown_word("operation", op)


def behind_links(join: Join, signal: Range, linked: list[Range]) -> Range:
    """The range where long skips have joined a signal, before what stands after the join."""
    for each in linked:
        match join.merge:
            case "add":
                signal = signal.plus(each)
            case "cat":
                signal = signal.hull(each)
            case _:
                raise unknown_word("link_merge", join.merge)
    return signal
