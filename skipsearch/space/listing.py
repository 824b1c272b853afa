"""The results of a pass through all points of a space."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from skipsearch.axes import Parameter, Value
from skipsearch.space.candidate import Candidate


class Listing(NamedTuple):
    """The results of a pass through all points of a space.

    Attributes:
        networks: Number of distinct networks that meet the constraints.
        trainings: Number of distinct trainings, each a network and a recipe.
        unused: Values of axes that no allowed design has, with their locations.
    """

    networks: int
    trainings: int
    unused: list[str]

    @classmethod
    def of(cls, points: Iterable[Candidate], parameters: Mapping[str, Parameter]) -> Listing:
        """Go through the points of a space with these parameters."""
        networks, trainings = set(), set()
        used: dict[str, set[Value]] = {name: set() for name in parameters}
        for candidate in points:
            networks.add(candidate.design.id)
            trainings.add(candidate.key)
            for name, value in candidate.values.items():
                used[name].add(value)
        unused = [
            f"axes.{name}[{i}]: {'nothing' if value == '' else value}"
            for name, parameter in parameters.items()
            for i, value in enumerate(parameter.values)
            if value not in used[name]
        ]
        return cls(len(networks), len(trainings), unused)
