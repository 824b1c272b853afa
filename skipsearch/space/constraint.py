"""Constraints: bounds that a design must meet before it is trained."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from typing import Any, NamedTuple

from skipsearch.cost import Cost
from skipsearch.errors import SpaceError, not_one_of, shown_value

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
MEASURES = ("params", "macs", "activation_bytes")


class Constraint(NamedTuple):
    """A bound on the cost of a design, such as ``params <= 2e6``."""

    measure: str
    comparison: str
    bound: float

    def __str__(self) -> str:
        bound = int(self.bound) if self.bound.is_integer() else self.bound
        return f"{self.measure} {self.comparison} {bound}"

    def violated(self, cost: Cost) -> str:
        """Return the constraint and the figure that violates it, or an empty string."""
        figure = getattr(cost, self.measure)
        met = COMPARISONS[self.comparison](figure, self.bound)
        return "" if met else f"{self}: it has {figure:,}"


def read_constraints(texts: Any) -> tuple[Constraint, ...]:
    """Read constraints from the contents of the YAML.

    Raises:
        SpaceError: If one is invalid; the message names the location.
    """
    if not isinstance(texts, list):
        raise SpaceError(f"constraints: {shown_value(texts)} is not a list such as [params <= 2e6]")
    constraints = []
    for i, text in enumerate(texts):
        words = text if isinstance(text, str) else ""
        match = re.fullmatch(r"\s*(\w+)\s*(<=|>=|<|>)\s*([-+.\deE_]+)\s*", words)
        try:
            if match is None:
                raise ValueError
            bound = float(match[3])
            if not math.isfinite(bound):
                raise ValueError
        except ValueError:
            raise SpaceError(
                f"constraints[{i}]: {shown_value(text)} is not of the form 'params <= 2e6'"
            ) from None
        assert match is not None
        if match[1] not in MEASURES:
            raise SpaceError(f"constraints[{i}]: {not_one_of(match[1], MEASURES)}")
        constraints.append(Constraint(match[1], match[2], bound))
    return tuple(constraints)
