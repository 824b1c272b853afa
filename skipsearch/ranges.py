"""Bounds of the values of a signal, such as nonnegative, from 0 to 6, or none."""

from __future__ import annotations

from math import inf
from typing import NamedTuple


class Range(NamedTuple):
    """Bounds that hold in evaluation mode for every image, whatever the weights are."""

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
        """Return the smallest bounds that contain both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def clamped(self, low: float, high: float) -> Range:
        """Return the bounds of the signal clamped to an interval."""
        return Range(min(max(self.low, low), high), min(max(self.high, low), high))


ANY = Range(-inf, inf)
ZERO = Range(0.0, 0.0)
