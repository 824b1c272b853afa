"""Reading of axes from plain values: lists, ranges and free layouts; errors name the location."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from skipsearch.axes import (
    IN_A_STAGE,
    RECIPE,
    STAGED,
    Axis,
    Choice,
    Free,
    Range,
    Value,
    split_name,
)
from skipsearch.errors import LayoutError, SkipSearchError, SpaceError, not_one_of, shown_value
from skipsearch.fields import ALWAYS_PER_STAGE, FIELDS, check_field
from skipsearch.kinds import Real, Whole
from skipsearch.layout import PLAIN_TOKENS, check_token, is_convolution
from skipsearch.recipe import BUDGET, KINDS, Number, Recipe

MOST_FREE = 3  # operations of a free layout: three have 16 arrangements per slot, four have 65
MOST_CONVS = 16  # convolutions of a free layout
MOST_STEPS = 10_000_000  # values of a range: as many as images in the largest batch
SMALLEST_STEP = 1e-12  # values of a range have 12 decimals


def read_axis(name: str, value: Any) -> Axis:
    """Read one axis from the contents of the YAML.

    Raises:
        SpaceError: If the name or a value is invalid; the message names the location.
    """
    _check_name(name)
    place = f"axes.{name}"
    layout = split_name(name).field == "layout"
    if isinstance(value, list):
        if not value:
            raise SpaceError(f"{place}: the list is empty; give the values to choose from")
        values = [checked_value(f"{place}[{i}]", name, item) for i, item in enumerate(value)]
        seen = set()
        for i, item in enumerate(values):
            if item in seen:
                raise SpaceError(f"{place}[{i}]: {shown_value(value[i])} is listed twice")
            seen.add(item)
        return Choice(tuple(values))
    if isinstance(value, dict):
        return _free(place, value) if layout else _range(place, name, value)
    other = "a free layout {convs: ..., free: ...}" if layout else "a range {low: ..., high: ...}"
    raise SpaceError(f"{place}: {shown_value(value)} is neither a list of values nor {other}")


def checked_value(place: str, name: str, value: Any) -> Value:
    """Check one value of an axis and return it in its canonical form.

    Args:
        place: Location of the value; the message begins with it.
        name: Name of a field, ``FIELD[i]`` or ``recipe.NAME``.
        value: Value to check.

    Raises:
        SpaceError: If the value is invalid.
    """
    field, stage, _ = split_name(name)
    short = field.removeprefix(RECIPE)
    try:
        if name.startswith(RECIPE):
            return getattr(Recipe().replace(**{short: value}), short)
        if stage is None:
            return check_field(field, value)
        return cast("tuple[Value, ...]", check_field(field, [value]))[0]
    except SkipSearchError as error:
        text = str(error)
        for opening in (f"{short}: ", f"{short}[0]: "):
            text = text.removeprefix(opening)
        raise SpaceError(f"{place}: {text}") from None


def _check_name(name: str) -> None:
    field, bracket, _ = name.partition("[")
    if not bracket:
        allowed = [*FIELDS, *(RECIPE + n for n in KINDS if n != "epochs")]
        if name not in allowed:
            raise SpaceError(f"axes: {not_one_of(name, allowed)}")
    elif field not in STAGED:
        raise SpaceError(f"axes.{name}: an axis of one stage: {not_one_of(field, STAGED)}")
    elif not IN_A_STAGE.fullmatch(name):
        raise SpaceError(
            f"axes.{name}: the brackets of {field}[0] hold a whole number:"
            " stages are numbered from 0"
        )


def _number(name: str) -> type[int] | type[float] | None:
    """Return the type of an axis' numbers; None if the axis cannot be a range."""
    field, stage, _ = split_name(name)
    if field.startswith(RECIPE):
        short = field.removeprefix(RECIPE)
        of_recipe = KINDS[short]
        return of_recipe.type if isinstance(of_recipe, Number) and short not in BUDGET else None
    if field in ALWAYS_PER_STAGE and stage is None:
        return None  # its values are lists with one entry per stage
    kind = FIELDS[field].kind
    return int if isinstance(kind, Whole) else float if isinstance(kind, Real) else None


def _range(place: str, name: str, value: Mapping[str, Any]) -> Range:
    keys = ("low", "high", "step", "log")
    _check_keys(place, value, keys)
    field = split_name(name).field
    number = _number(name)
    whole = number is int
    if number is None:
        raise SpaceError(f"{place}: {field} takes a list of values, not a range")
    log = value.get("log", False)
    if not isinstance(log, bool):
        raise SpaceError(f"{place}.log: {shown_value(log)} is neither true nor false")
    for key in ("low", "high"):
        if key not in value:
            raise SpaceError(f"{place}.{key} is missing")
    wanted = "a whole number" if whole else "a number"
    for key in ("low", "high"):
        if value[key] is None or isinstance(value[key], list):
            raise SpaceError(f"{place}.{key}: {shown_value(value[key])} is not {wanted}")
    low = checked_value(f"{place}.low", name, value["low"])
    high = checked_value(f"{place}.high", name, value["high"])
    if not low < high:
        raise SpaceError(f"{place}: low {low:g} is not below high {high:g}")
    step = value.get("step")
    if log and step is not None:
        raise SpaceError(f"{place}: log and step exclude one another")
    if log and low <= 0:
        raise SpaceError(f"{place}.low: {low:g} is not above 0, which log needs")
    if step is not None:
        fits = isinstance(step, int if whole else int | float) and not isinstance(step, bool)
        if not fits or not 0 < step <= (high - low) * (1 + 1e-9):
            raise SpaceError(
                f"{place}.step: {shown_value(step)} is not a number above 0 within the range"
            )
    if whole and not log and step is None:
        step = 1
    if step is not None and (step < SMALLEST_STEP or (high - low) / step > MOST_STEPS):
        raise SpaceError(
            f"{place}.step: {step:g} makes {(high - low) / step:.3g} values, more than"
            f" {MOST_STEPS:,}, or values less than {SMALLEST_STEP:g} apart; leave it out for every"
            " number in the range"
        )
    if step is not None:  # Optuna needs a step that divides the range.
        last = low + math.floor((high - low) / step + 1e-9) * step
        high = min(high, last) if whole else min(high, round(last, 12))
    return Range(low, high, step, log, whole)


def _free(place: str, value: Mapping[str, Any]) -> Free:
    _check_keys(place, value, Free._fields)
    for key, example in (("convs", "[conv3, conv3]"), ("free", "[bn, relu]")):
        if key not in value:
            raise SpaceError(f"{place}.{key} is missing")
        if not isinstance(value[key], list) or not value[key]:
            raise SpaceError(
                f"{place}.{key}: {shown_value(value[key])} is not a list such as {example}"
            )
    convs, free = value["convs"], value["free"]
    for i, conv in enumerate(convs):
        where = f"{place}.convs[{i}]"
        if not isinstance(conv, str) or not is_convolution(conv):
            allowed = ("conv1", "conv3", "conv5", "conv7", "dw3", "dw5", "dw7")
            raise SpaceError(f"{where}: a convolution: {not_one_of(conv, allowed)}")
        try:
            check_token(conv, (), conv)
        except LayoutError as error:
            raise SpaceError(f"{where}: {error}") from None
    for i, word in enumerate(free):
        if word not in PLAIN_TOKENS:
            raise SpaceError(f"{place}.free[{i}]: {not_one_of(word, PLAIN_TOKENS)}")
        if word in free[:i]:
            raise SpaceError(f"{place}.free[{i}]: {shown_value(word)} is listed twice")
    for key, things, most in (
        ("convs", "convolutions", MOST_CONVS),
        ("free", "operations", MOST_FREE),
    ):
        if len(value[key]) > most:
            raise SpaceError(f"{place}.{key}: {len(value[key])} {things} are more than {most}")
    return Free(tuple(convs), tuple(free))


def _check_keys(place: str, value: Mapping[str, Any], keys: tuple[str, ...]) -> None:
    for key in value:
        if key not in keys:
            raise SpaceError(f"{place}: {not_one_of(key, keys)}")
