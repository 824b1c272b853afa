"""What was asked of a search: what ``run.yaml`` holds, and what of it makes two searches the same.

A search is identified by what it searches and on which images: not by where the data lie, nor by
what the space is called or where its author found it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from skipsearch.errors import RunError, SkipSearchError
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST, VALIDATION_ACCURACY
from skipsearch.searching.stopping import EarlyStopping
from skipsearch.space import Space
from skipsearch.text import parse_yaml, read_text

FORMAT = 1
# What must be the same when a search goes on.
FIXED = (
    *("space", "data", "recipe", "seed", "scheduler", "stopping", "objectives", "latency_batch"),
    *("storage", "ask", "margin"),
)
# What older runs do not say of themselves.
ADDED = {
    "stopping": EarlyStopping().details(),
    "objectives": [VALIDATION_ACCURACY],
    "latency_batch": None,
    "seeds": 1,
    "storage": None,
    "ask": [ASK_BEST],
    "margin": None,
}
# What of the data is told apart, the reason before what follows from it.
SAME_DATA = ("resized_to", "split_seed", "fingerprint")


def read_asked(path: Path) -> dict[str, Any]:
    """Read ``run.yaml``.

    Raises:
        RunError: If it is damaged, or of another format.
    """
    asked = parse_yaml(read_text(path, RunError), str(path), RunError)
    if asked.get("format") != FORMAT:
        raise RunError(f"{path}: the format is {asked.get('format')!r}, not {FORMAT}")
    asked = ADDED | asked
    _check(asked, VALUES, str(path), "")
    _check(asked["data"], DATA_VALUES, str(path), "data.")
    _check(asked["space"], {"name": TEXT}, str(path), "space.")
    _check(asked["recipe"], {"epochs": COUNT}, str(path), "recipe.")
    try:
        _space(asked["space"])
        _recipe(asked["recipe"])
    except SkipSearchError as error:
        raise RunError(f"{path}: {error}") from None
    return asked


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say in what a search that was begun differs from one that is asked for.

    Args:
        there: What the search that was begun was asked, all of it or what is fixed.
        asked: What is asked for now, all of it or what is fixed; what is not in it does not count.

    Returns:
        The first difference; an empty text where they are the same search.
    """
    there = ADDED | dict(there)
    # Searches that share a database tell their studies apart by the names of their spaces.
    named = asked.get("storage") is not None
    for name in (name for name in asked if name in FIXED or name not in VALUES):
        old, new = there.get(name), asked[name]
        if name == "latency_batch" and None in (old, new):
            continue  # an older run does not say
        if name in MEANING and isinstance(old, dict) and isinstance(new, dict):
            keep = ("name",) if named and name == "space" else ()
            old, new = (
                MEANING[name](side) | {key: side.get(key) for key in keep} for side in (old, new)
            )
        if name == "data" and old and old["fingerprint"] == new["fingerprint"]:
            continue
        if old != new:
            return _first_difference(name, old, new)
    return ""


def fixed(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what identifies a search, as its study keeps it.

    Args:
        asked: What ``run.yaml`` holds.
    """
    kept = {name: asked[name] for name in FIXED if name in asked and name != "storage"}
    return kept | {"data": _data(asked["data"])}


def _space(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a space is searched, in its canonical spelling."""
    space = Space.from_dict(values, "space").to_dict()
    return {key: value for key, value in space.items() if key not in ("name", "source")}


def _recipe(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a recipe; a field that is younger than the run has its default."""
    return Recipe.from_dict(dict(values)).to_dict()


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in SAME_DATA}


MEANING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "space": _space,
    "recipe": _recipe,
    "data": _data,
}


def _first_difference(name: str, old: Any, new: Any) -> str:
    """Name the first place where two plain values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in (*new, *old):
            if old.get(key) != new.get(key):
                return _first_difference(f"{name}.{key}", old.get(key), new.get(key))
    return f"{name} is {old!r} there, {new!r} was asked for"


# --- the values of run.yaml ----------------------------------------------------------------------


def _is_count(value: Any) -> bool:
    return _is_whole(value) and value >= 1


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and value > 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _is_mapping(value: Any) -> bool:
    return isinstance(value, dict)


def _or_none(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or check(value)


def _list_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and bool(value) and all(map(check, value))


Kind = tuple[str, Callable[[Any], bool]]
COUNT: Kind = ("a positive whole number", _is_count)
WHOLE: Kind = ("a whole number from 0", _is_whole)
TEXT: Kind = ("a text", _is_text)
MAPPING: Kind = ("a mapping", _is_mapping)
VALUES: dict[str, Kind] = {
    "space": MAPPING,
    "data": MAPPING,
    "recipe": MAPPING,
    "seed": WHOLE,
    "sampler": TEXT,
    "scheduler": TEXT,
    "stopping": MAPPING,
    "rungs": ("a list of positive whole numbers", _list_of(_is_count)),
    "objectives": ("a list of texts", _list_of(_is_text)),
    "latency_batch": ("a positive whole number or nothing", _or_none(_is_count)),
    "trials": COUNT,
    "seeds": COUNT,
    "storage": ("a text or nothing", _or_none(_is_text)),
    "ask": ("a list of texts", _list_of(_is_text)),
    "margin": ("a number above 0 or nothing", _or_none(_is_positive)),
    "versions": MAPPING,
}
DATA_VALUES: dict[str, Kind] = {
    "name": TEXT,
    "root": ("a text or nothing", _or_none(_is_text)),
    "resized_to": ("a positive whole number or nothing", _or_none(_is_count)),
    "split_seed": WHOLE,
    "fingerprint": TEXT,
    "in_channels": COUNT,
    "image_size": COUNT,
    "classes": COUNT,
    "train_images": COUNT,
    "validation_images": COUNT,
    "source": ("a text", lambda value: isinstance(value, str)),
}


def _check(values: Mapping[str, Any], kinds: Mapping[str, Kind], path: str, prefix: str) -> None:
    for name, (kind, is_right) in kinds.items():
        if name not in values:
            raise RunError(f"{path}: {prefix}{name} is missing")
        if not is_right(values[name]):
            shown = str(values[name])[:60]
            raise RunError(f"{path}: {prefix}{name}: {shown!r} is not {kind}")
