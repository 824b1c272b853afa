"""The comparison of two searches by their settings and the content of their data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from skipsearch.config.values import ADDED, DATA_ADDED, VALUES
from skipsearch.recipe import Recipe
from skipsearch.space import Space
from skipsearch.task import TASKS

# Values that must be the same when a search is resumed.
FIXED = (
    *("space", "data", "recipe", "seed", "scheduler", "stopping", "objectives", "latency_batch"),
    *("storage", "ask", "margin"),
)
# Values that distinguish data sets, causes before their consequences.
SAME_DATA = (
    *("task", "task_version", "metric", "folds", "sigma", "resized_to", "group_folders"),
    *("split_seed", "class_names", "fingerprint"),
)

CONTENT = ("class_names", "fingerprint")  # of those, the values that no argument sets


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Describe how an existing search differs from a requested one.

    Args:
        there: ``SearchConfig.to_dict`` or ``identity`` of the existing search.
        asked: The same for the requested search; keys that it lacks are ignored.

    Returns:
        The first difference; an empty string if they are the same search.
    """
    there = ADDED | dict(there)
    # In a shared database, studies are distinguished by the names of their spaces.
    named = asked.get("storage") is not None
    for name in (name for name in asked if name in FIXED or name not in VALUES):
        old, new = there.get(name), asked[name]
        places = [side.get("name") for side in (old, new)] if name == "data" and old else []
        if name == "latency_batch" and None in (old, new):
            continue  # older runs lack the value
        if name in MEANING and isinstance(old, dict) and isinstance(new, dict):
            keep = ("name",) if named and name == "space" else ()
            old, new = (
                MEANING[name](side) | {key: side.get(key) for key in keep} for side in (old, new)
            )
        if name == "data" and old:
            if None in (old["class_names"], new["class_names"]):  # older runs lack them
                old, new = ({**side, "class_names": None} for side in (old, new))
            if _is_same_data(old, new):
                continue
            versions = [side["task_version"] for side in (old, new)]
            if old["task"] == new["task"] and versions[0] != versions[1]:
                return TASKS[new["task"]].difference(*versions)
            return _data_difference(old, new, *places)
        if old != new:
            return _first_difference(name, old, new)
    return ""


def _space(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the searched part of a space, in its canonical spelling."""
    space = Space.from_dict(values, "space").to_dict()
    return {key: value for key, value in space.items() if key not in ("name", "source")}


def _recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe; fields newer than the run have their defaults."""
    return Recipe.from_dict(dict(values)).to_dict()


def data_identity(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that distinguish a data set from others.

    Args:
        values: ``DataConfig.to_dict`` of this or an earlier version.
    """
    given: dict[str, Any] = DATA_ADDED | dict(values)
    given["metric"] = given["metric"] or TASKS[given["task"]].metric.name
    return {name: given.get(name) for name in SAME_DATA}


def _is_same_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    names = ("task", "task_version", "metric", "folds", "class_names", "fingerprint")
    return all(old[name] == new[name] for name in names)


def _data_difference(
    old: Mapping[str, Any], new: Mapping[str, Any], old_name: str | None, new_name: str | None
) -> str:
    """Describe how two data sets differ; a name is None if it is not recorded."""
    renamed = None not in (old_name, new_name) and old_name != new_name
    named = f"data is {old_name} there, {new_name} was asked for"
    if renamed and (old["task"], old["class_names"]) != (new["task"], new["class_names"]):
        return named
    for key in SAME_DATA:
        if key not in CONTENT and old[key] != new[key]:
            return _first_difference(f"data.{key}", old[key], new[key])
    names = [side["class_names"] for side in (old, new)]
    what = "the images, labels or splits differ"
    if names[0] != names[1]:
        what = f"the class names are {names[0]} there, {names[1]} now"
    if renamed:
        return f"{named}: {what}"
    name = "" if new_name is None else f" {new_name}"
    return f"data{name} has changed since the search, or other data were given: {what}"


MEANING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "space": _space,
    "recipe": _recipe,
    "data": data_identity,
}


def _first_difference(name: str, old: Any, new: Any) -> str:
    """Describe the first difference between two plain values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*new, *old):
            if old.get(key) != new.get(key):
                return _first_difference(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} is {old!r} there, {new!r} was asked for"
