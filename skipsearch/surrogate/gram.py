"""The weighted sum of the outer products of features, kept while trainings are added."""

from __future__ import annotations

import numpy as np

from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.kernel import Kernel
from skipsearch.surrogate.observations import keys_of

BLOCK = 1_000  # rows whose features are in memory together


class Gram:
    """The sum over designs of ``weight * outer(features, features)``.

    The sum is kept with the weight of each design in it. The next sum adds only the differences: of
    designs that are new, left out, or have another weight.

    Args:
        kernel: Kernel that defines the features.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._held: dict[bytes, float] = {}
        self._sum: Array = np.zeros((0, 0))

    def of(self, points: Array, weights: Array) -> Array:
        """Return the sum for the given designs alone; it must not be changed.

        Args:
            points: Row for each design, all different.
            weights: Positive weight of each design.
        """
        now = dict(zip(keys_of(points), weights.tolist(), strict=True))
        held = self._held
        steps = {key: w - held.get(key, 0.0) for key, w in now.items() if held.get(key) != w}
        steps |= {key: -held[key] for key in held.keys() - now.keys()}
        if 2 * len(steps) > len(now):
            # A new sum is cheaper, and has no rounding errors of earlier ones.
            self._sum, steps = np.zeros((0, 0)), now
        rows = np.frombuffer(b"".join(steps)).reshape(len(steps), points.shape[1])
        changes = np.fromiter(steps.values(), dtype=float, count=len(steps))
        for sign in (1.0, -1.0):
            chosen = np.flatnonzero(sign * changes > 0)
            for start in range(0, len(chosen), BLOCK):
                block = chosen[start : start + BLOCK]
                scaled = self._kernel.features(rows[block])
                scaled *= np.sqrt(sign * changes[block])[:, None]
                part = scaled.T @ scaled
                self._sum = sign * part if not self._sum.size else self._sum + sign * part
        self._held = now
        return self._sum
