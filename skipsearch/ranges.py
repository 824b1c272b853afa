"""Bounds of the values of a signal: never negative, from 0 to 6, or none."""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Range(NamedTuple):
    """Bounds that hold for every image, whatever the weights are, in evaluation."""

    low: float
    high: float

    def plus(self, other: Range) -> Range:
        """Return the bounds of the sum."""
        return Range(self.low + other.low, self.high + other.high)

    def times(self, factor: float) -> Range:
        """Return the bounds of the product with a constant."""
        if factor == 0:
            return ZERO
        ends = self.low * factor, self.high * factor
        return Range(min(ends), max(ends))

    def hull(self, other: Range) -> Range:
        """Return the bounds of either, or of what lies between them."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def clamped(self, low: float, high: float) -> Range:
        """Return the bounds of what is cut off at two ends."""
        return Range(min(max(self.low, low), high), min(max(self.high, low), high))


ANY = Range(-inf, inf)
ZERO = Range(0.0, 0.0)
