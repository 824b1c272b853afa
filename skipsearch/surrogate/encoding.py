"""The axes of a space as numbers: each candidate is a row, each axis a column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from skipsearch.axes import Choice, Parameter, Range, Value
from skipsearch.space import Space

Array = npt.NDArray[np.float64]

KNOTS = 9  # knots of a range with more values; functions of it are linear between them
LABELS = (str, bool, type(None))


@dataclass(frozen=True, slots=True)
class Axis:
    """One column: the levels of a parameter of the space.

    A value is encoded as the *position* of its level, from 0 to ``len(levels) - 1``. A number
    between two levels of a numeric axis lies between their positions. An axis without effect on a
    design is *inactive* there, which is an extra level at the position ``len(levels)``.

    Attributes:
        name: Name of the parameter.
        levels: Values of the parameter, or the knots of a range. Numbers are sorted.
        numeric: Whether similarity depends on distance; otherwise only equal levels are similar.
        log: Whether positions between the knots are interpolated on a logarithmic scale.
        conditional: Whether the axis is inactive in some designs.
    """

    name: str
    levels: tuple[Value, ...]
    numeric: bool = False
    log: bool = False
    conditional: bool = False

    @classmethod
    def of(cls, name: str, parameter: Parameter, conditional: bool = False) -> Axis:
        """Describe a parameter of a space."""
        if isinstance(parameter, Choice):
            ordered = _sorted(parameter.values)
            return cls(name, ordered or parameter.values, bool(ordered), False, conditional)
        if parameter.size is not None and parameter.size <= KNOTS:
            return cls(name, parameter.values, True, False, conditional)
        return cls(name, _knots(parameter), True, parameter.log, conditional)

    @property
    def inactive(self) -> int:
        """Position of the level for an axis without effect."""
        return len(self.levels)

    def position(self, value: Value) -> float:
        """Return the position of a value.

        Raises:
            ValueError: If a value that is not a number is not a level.
        """
        try:
            return float(self.levels.index(value))
        except ValueError:
            if not self.numeric or isinstance(value, tuple):
                raise
        scale = [math.log(level) for level in self.levels] if self.log else self.levels
        return float(np.interp(math.log(value) if self.log else value, scale, range(len(scale))))


@dataclass(frozen=True, slots=True)
class Encoding:
    """The encoding of a space, with one column for each parameter.

    Attributes:
        axes: Axes in the order of the space's parameters.
    """

    axes: tuple[Axis, ...]

    @classmethod
    def of(cls, space: Space) -> Encoding:
        """Describe the parameters of a space, in their order."""
        conditional = space.conditional
        return cls(tuple(Axis.of(n, p, n in conditional) for n, p in space.parameters.items()))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the axes, in the order of the columns."""
        return tuple(axis.name for axis in self.axes)

    def rows(self, values: Iterable[Mapping[str, Value]]) -> Array:
        """Return one row for each candidate.

        Args:
            values: Values of each candidate, as ``Candidate.values``.
        """
        rows = [
            [
                axis.position(each[axis.name]) if axis.name in each else float(axis.inactive)
                for axis in self.axes
            ]
            for each in values
        ]
        return np.array(rows, dtype=float).reshape(len(rows), len(self.axes))


def _sorted(values: Sequence[Value]) -> tuple[Any, ...]:
    """Return values in their natural order; empty if they have none.

    Numbers have one. So do lists of numbers if no entry decreases from one list to the next, as in
    depths [1, 1] and [3, 3], but not [1, 3] and [3, 1].
    """
    if any(isinstance(value, LABELS) for value in values):
        return ()
    if not any(isinstance(value, tuple) for value in values):
        return tuple(sorted(values))
    if not all(isinstance(v, tuple) and len(v) == len(values[0]) for v in values):
        return ()
    if any(isinstance(entry, (*LABELS, tuple)) for value in values for entry in value):
        return ()
    ordered = sorted(values)
    chain = all(a <= b for low, high in pairwise(ordered) for a, b in zip(low, high, strict=True))
    return tuple(ordered) if chain else ()


def _knots(parameter: Range) -> tuple[float, ...]:
    space = np.geomspace if parameter.log else np.linspace
    return tuple(space(parameter.low, parameter.high, KNOTS).tolist())
