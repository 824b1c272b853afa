"""Candidates, the points of a space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from skipsearch.axes import RECIPE, Value, split_name
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.fields import check_field, spread
from skipsearch.recipe import Recipe
from skipsearch.space.conditions import DEFAULTS, in_stages


@dataclass(frozen=True)
class Candidate:
    """One point of a space.

    Attributes:
        values: Value of each parameter with an effect on this design.
        design: Design built from them.
        recipe: Recipe built from them, where axes of the recipe are searched as well.
    """

    values: Mapping[str, Value]
    design: Design
    recipe: Recipe

    @cached_property
    def key(self) -> str:
        """Ids of design and recipe, equal for candidates that are the same training."""
        return f"{self.design.id}-{self.recipe.id}"

    def value_of(self, name: str) -> Value:
        """Return the value of a parameter in the design or recipe; None if it has none."""
        field, stage, slot = split_name(name)
        if name.startswith(RECIPE):
            return getattr(self.recipe, name.removeprefix(RECIPE))
        if slot:
            return ""
        value = getattr(self.design, field)
        if stage is None:
            return value
        values = spread(value, len(self.design.depths))
        return values[stage] if stage < len(values) else None


def build_candidate(
    values: Mapping[str, Value],
    settings: Mapping[str, Value],
    base: Mapping[str, Any],
    base_recipe: Mapping[str, Any],
) -> Candidate:
    """Build the candidate with given values of the parameters.

    Args:
        values: Values of the parameters.
        settings: Same values, keyed by what they set; see ``Conditions.assembled``.
        base: Fields of the design that they do not set.
        base_recipe: Fields of the recipe that they do not set.

    Raises:
        DesignError: If the values cannot be combined.
    """
    fields, recipe = dict(base), dict(base_recipe)
    staged: dict[str, int] = {}  # fields, and their last stage with a separate value
    for name, value in settings.items():
        field, stage, slot = split_name(name)
        if name.startswith(RECIPE):
            recipe[name.removeprefix(RECIPE)] = value
        elif stage is None or slot:
            fields[name] = value
        else:
            staged[field] = max(stage, staged.get(field, 0))
    for field, last in staged.items():
        depths = check_field("depths", fields.get("depths", DEFAULTS["depths"]))
        stages = len(cast("tuple[int, ...]", depths))
        spread_out = spread(fields.get(field, DEFAULTS[field]), stages)
        if last >= len(spread_out):
            raise DesignError(
                f"{field}[{last}]: there are {len(spread_out)} stages, numbered from 0"
            )
        fields[field] = in_stages(field, spread_out, settings)
    return Candidate(values, Design.from_dict(fields), Recipe.from_dict(recipe))
