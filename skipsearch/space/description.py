"""Descriptions of spaces as text: their axes and sizes."""

from __future__ import annotations

from skipsearch.axes import Axis, Choice, Free, Range
from skipsearch.errors import SpaceError, counted
from skipsearch.space.listing import Listing
from skipsearch.space.space import Space


def draw_space(space: Space) -> str:
    """Describe a space: its axes, its size, and its number of distinct networks."""
    lines = [f"{space.name}: {space.source}" if space.source else space.name, ""]
    lines += [f"base   {name}: {_plain(value)}" for name, value in space.base.items()]
    lines += [f"recipe {name}: {_plain(value)}" for name, value in space.recipe.items()]
    for name, axis in space.axes.items():
        lines += [f"axis   {name}:", *(f"         {line}" for line in _draw_axis(axis))]
    lines += [f"must   {constraint}" for constraint in space.constraints]
    lines += ["", space_size(space)]
    return "\n".join(lines)


def _draw_axis(axis: Axis) -> list[str]:
    match axis:
        case Choice():
            return [f"- {_plain(value)}" for value in axis.values]
        case Range():
            return [", ".join(f"{key} {value}" for key, value in axis.plain().items())]
        case Free():
            words = ", ".join(word or "nothing" for word in axis.words.values)
            places = axis.layout({slot: f"[{slot}]" for slot in axis.slots})
            return [places, f"in each of the brackets: {words}"]


def space_size(space: Space) -> str:
    """Describe the size of a space in one line.

    Raises:
        SpaceError: If a space small enough to be listed has no allowed design.
    """
    return describe_size(space, space.listing())


def describe_size(space: Space, listing: Listing | None) -> str:
    """Describe the size of a space like ``space_size``, with an existing listing."""
    if space.size is None:
        return "endless: at least one axis is continuous"
    if listing is None:
        return f"{space.size:,} points; too many to list the distinct networks among them"
    if not listing.networks:
        bounds = ", ".join(map(str, space.constraints))
        raise SpaceError(f"{space.name}: the space is empty: no design meets {bounds}")
    return (
        f"{counted(space.size, 'point')}: {counted(listing.networks, 'distinct network')} within"
        f" the constraints, {counted(listing.trainings, 'distinct training')}"
    )


def _plain(value: object) -> str:
    return str(list(value)) if isinstance(value, tuple) else str(value)
