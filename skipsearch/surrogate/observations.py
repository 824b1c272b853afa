"""Observed trainings, with the seeds of one design combined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from skipsearch.surrogate.encoding import Array


@dataclass(frozen=True, slots=True)
class Observations:
    """Observed trainings, one entry per design: the mean and scatter over its seeds.

    Attributes:
        points: Row of the ``Encoding`` for each design.
        means: Mean value of its trainings.
        counts: Number of its trainings.
        floors: Minimum variance of a single training, due to its images.
        scatters: Sum of the squared deviations from the mean.
    """

    points: Array
    means: Array
    counts: Array
    floors: Array
    scatters: Array

    @classmethod
    def of(cls, points: Array, values: Array, floors: Array) -> Self:
        """Group trainings by design, in the order of the first training of each design.

        Args:
            points: Row for each training.
            values: Value of each training.
            floors: Variance of each value due to the images alone.
        """
        single = cls(points[:0], *(np.zeros(0) for _ in range(4)))
        ones, zeros = np.ones(len(points)), np.zeros(len(points))
        return single.joined(cls(points, np.asarray(values, dtype=float), ones, floors, zeros))

    def __len__(self) -> int:
        return len(self.points)

    def joined(self, other: Self) -> Self:
        """Return these observations joined with others; equal designs combine their trainings."""
        points = np.concatenate([self.points, other.points])
        index: dict[bytes, int] = {}
        group = np.array([index.setdefault(key, len(index)) for key in keys_of(points)], dtype=int)

        def total(each: Array) -> Array:
            return np.bincount(group, each, len(index)).astype(float)

        weights = np.concatenate([self.counts, other.counts])
        each = np.concatenate([self.means, other.means])
        counts = total(weights)
        means = total(weights * each) / counts
        floors = total(weights * np.concatenate([self.floors, other.floors])) / counts
        scatters = total(np.concatenate([self.scatters, other.scatters]))
        scatters += total(weights * (each - means[group]) ** 2)
        first = np.unique(group, return_index=True)[1]
        return type(self)(points[first], means, counts, floors, scatters)

    def some(self, most: int) -> Self:
        """Return at most ``most`` designs, spread evenly from the oldest to the newest."""
        if len(self) <= most:
            return self
        kept = np.linspace(0, len(self) - 1, most).round().astype(int)
        return type(self)(
            self.points[kept],
            self.means[kept],
            self.counts[kept],
            self.floors[kept],
            self.scatters[kept],
        )


def keys_of(x: Array) -> list[bytes]:
    """Return a key for each row; equal rows have equal keys."""
    whole = np.ascontiguousarray(x)
    size = whole.itemsize * whole.shape[1]
    joined = whole.tobytes()
    return [joined[i : i + size] for i in range(0, len(joined), size)]
