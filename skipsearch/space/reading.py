"""Reading of spaces from plain values: the allowed contents of the YAML, and error messages."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from skipsearch.axes import RECIPE, Axis
from skipsearch.errors import SkipSearchError, SpaceError, not_one_of, shown_value
from skipsearch.fields import FIELDS
from skipsearch.recipe import Recipe
from skipsearch.space.axis_reading import checked_value, read_axis
from skipsearch.space.constraint import read_constraints

KEYS = ("name", "source", "base", "recipe", "axes", "constraints")


def read_space(values: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the attributes of a ``Space``.

    Args:
        values: Contents of the YAML.
        where: Name of the source, from which the default name of the space is taken.

    Raises:
        SpaceError: If anything is invalid; the message names the location.
    """
    for key in values:
        if key in FIELDS:
            raise SpaceError(
                f"unknown key: {key!r} is a field of designs: set it in base (a design alone is"
                " for skipsearch train)"
            )
        if key not in KEYS:
            raise SpaceError(f"unknown key: {not_one_of(key, KEYS)}")
    base = _mapping(values, "base")
    recipe = _mapping(values, "recipe")
    axes = {name: read_axis(name, axis) for name, axis in _mapping(values, "axes").items()}
    return {
        "name": _text(values, "name", Path(where).stem),
        "source": _text(values, "source", ""),
        "base": _checked_base(base, axes),
        "recipe": _checked_recipe(recipe, axes),
        "axes": axes,
        "constraints": read_constraints(values.get("constraints") or []),
    }


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = values.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise SpaceError(
            f"{key}: a mapping of 'name: value' lines is expected, not {shown_value(value)}"
        )
    return value


def _text(values: Mapping[str, Any], key: str, default: str) -> str:
    value = values.get(key, default)
    if not isinstance(value, str):
        raise SpaceError(f"{key}: {shown_value(value)} is not a text")
    for sign in value:
        if unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") and sign not in "\n\t":
            raise SpaceError(f"{key}: {shown_value(value)} holds {sign!r}, which no YAML keeps")
    return value


def _checked_base(base: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    checked = {}
    for name, value in base.items():
        if name not in FIELDS:
            raise SpaceError(f"base: {not_one_of(name, FIELDS)}")
        checked[name] = checked_value(f"base.{name}", name, value)
    return {name: value for name, value in checked.items() if name not in axes}


def _checked_recipe(recipe: Mapping[str, Any], axes: Mapping[str, Axis]) -> dict[str, Any]:
    if "epochs" in recipe:
        raise SpaceError("recipe.epochs: the budget is given to the search, not to the space")
    try:
        Recipe.from_dict(recipe)
    except SkipSearchError as error:
        raise SpaceError(f"recipe: {error}") from None
    return {name: value for name, value in recipe.items() if RECIPE + name not in axes}
