"""The configuration of a search: what ``run.yaml`` holds, and what makes two searches the same.

A search is identified by what it searches and on which images: not by where the data lie, nor by
what the space is called or where its author found it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, SkipSearchError, refuse_unknown_keys
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST
from skipsearch.space import Space
from skipsearch.task import CLASSIFICATION, TASKS, Scale, Task
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
    "objectives": [CLASSIFICATION.metric.validation],
    "latency_batch": None,
    "seeds": 1,
    "storage": None,
    "ask": [ASK_BEST],
    "margin": None,
}
DATA_ADDED = {"task": CLASSIFICATION.name}
# What of the data is told apart, the reason before what follows from it.
SAME_DATA = ("resized_to", "split_seed", "fingerprint")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data set of a search, as it was read.

    Attributes:
        name: Its name, or the path that it was read from.
        root: Folder of its files; None for the default.
        resized_to: Height and width that images were resized to, in pixels; None where they were
            not.
        split_seed: Seed of the validation split.
        fingerprint: Hash of images, labels and splits.
        in_channels: Channels of the images.
        image_size: Height and width of the images, in pixels.
        classes: Number of classes.
        train_images: Number of training images.
        validation_images: Number of validation images.
        source: Where it comes from, in words.
        task: What networks are trained to do with it.
    """

    name: str
    root: str | None = None
    resized_to: int | None = None
    split_seed: int
    fingerprint: str
    in_channels: int
    image_size: int
    classes: int
    train_images: int
    validation_images: int
    source: str
    task: str = CLASSIFICATION.name


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """All that was asked of a search.

    Attributes:
        space: What is searched.
        data: The data set.
        recipe: How designs are trained, the full budget of epochs among it.
        seed: Seed of the sampler and of the first training of each design.
        sampler: The sampler's word, or the class of one of the user's own.
        stopping: When trainings end before the full budget.
        rungs: Epochs at which trainings are compared, the full budget last.
        objectives: The validation score under the name of the task's metric, such as
            ``validation_accuracy``, and what is to be kept small beside it.
        latency_batch: Number of images whose latency is measured; None where it is no objective.
        trials: Number of trainings that the run shall hold.
        seeds: Number of trainings of one design at most.
        storage: URL of the study's database, without a password; None for the run folder's file.
        ask: Axes that are asked about, or ``best``.
        margin: Where axes are asked about, the difference between mean scores that does not matter.
        versions: Versions of the libraries.
    """

    space: Space
    data: DataConfig
    recipe: Recipe
    seed: int
    sampler: str
    stopping: EarlyStopping
    rungs: tuple[int, ...]
    objectives: tuple[str, ...]
    latency_batch: int | None
    trials: int
    seeds: int
    storage: str | None
    ask: tuple[str, ...]
    margin: float | None
    versions: Mapping[str, str]

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``run.yaml``.

        Raises:
            RunError: If it is damaged, or of another format.
        """
        values = parse_yaml(read_text(path, RunError), str(path), RunError)
        if values.get("format") != FORMAT:
            raise RunError(f"{path}: the format is {values.get('format')!r}, not {FORMAT}")
        _check(ADDED | values, VALUES, str(path), "")
        _check(DATA_ADDED | values["data"], DATA_VALUES, str(path), "data.")
        _check(values["space"], {"name": TEXT}, str(path), "space.")
        _check(values["recipe"], {"epochs": COUNT}, str(path), "recipe.")
        try:
            return cls.from_dict(values)
        except SkipSearchError as error:
            raise RunError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration of plain values, as ``to_dict`` gives them, or as it once did.

        Raises:
            SpaceError, DesignError: If the space or the recipe is wrong.
            RunError: If the early stopping is, or a key is unknown.
        """
        values = {**ADDED, **values}
        refuse_unknown_keys(values, ("format", *VALUES), "search", RunError)
        refuse_unknown_keys(values["data"], DATA_VALUES, "data set", RunError)
        details = EarlyStopping().details()
        refuse_unknown_keys(values["stopping"], details, "stopping", RunError)
        return cls(
            space=Space.from_dict(values["space"], "space"),
            data=DataConfig(**values["data"]),
            recipe=Recipe.from_dict(values["recipe"]),
            stopping=EarlyStopping(rule=values["scheduler"], **(details | values["stopping"])),
            rungs=tuple(values["rungs"]),
            objectives=tuple(values["objectives"]),
            ask=tuple(values["ask"]),
            versions=dict(values["versions"]),
            **{name: values[name] for name in PLAIN},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {
            "format": FORMAT,
            "space": self.space.to_dict(),
            "data": asdict(self.data),
            "recipe": self.recipe.to_dict(),
            "seed": self.seed,
            "sampler": self.sampler,
            "scheduler": self.stopping.rule,
            "stopping": self.stopping.details(),
            "rungs": list(self.rungs),
            "objectives": list(self.objectives),
            "latency_batch": self.latency_batch,
            "trials": self.trials,
            "seeds": self.seeds,
            "storage": self.storage,
            "ask": list(self.ask),
            "margin": self.margin,
            "versions": dict(self.versions),
        }

    def identity(self) -> dict[str, Any]:
        """Return what identifies the search, as its study keeps it, in plain values."""
        values = self.to_dict()
        kept = {name: values[name] for name in FIXED if name != "storage"}
        return kept | {"data": _data(values["data"])}

    @property
    def task(self) -> Task:
        """What networks are trained to do."""
        return TASKS[self.data.task]

    @property
    def scale(self) -> Scale:
        """What differences between validation scores are compared with."""
        return Scale(self.task.metric, self.data.validation_images)

    @property
    def image_sizes(self) -> dict[str, int]:
        """Sizes of the data set, as ``cost`` and ``Space.for_images`` take them."""
        names = ("in_channels", "image_size", "classes")
        return {name: getattr(self.data, name) for name in names}


# Fields that are plain values already.
PLAIN = ("seed", "sampler", "latency_batch", "trials", "seeds", "storage", "margin")


@dataclass(frozen=True)
class ConfirmConfig:
    """What was asked of ``confirm``: what ``confirm.yaml`` holds.

    Attributes:
        leaders: The designs that are trained again, as ``DESIGN-RECIPE``.
        seeds: Number of new seeds at most.
    """

    leaders: tuple[str, ...]
    seeds: int

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``confirm.yaml``.

        Raises:
            RunError: If it is damaged.
        """
        values = parse_yaml(read_text(path, RunError), str(path), RunError)
        leaders, seeds = values.get("leaders"), values.get("seeds")
        if not isinstance(leaders, list) or not all(isinstance(key, str) for key in leaders):
            raise RunError(f"{path.name}: leaders is no list of designs")
        if isinstance(seeds, bool) or not isinstance(seeds, int) or seeds < 2:
            raise RunError(f"{path.name}: seeds: {str(seeds)[:60]!r} is not a whole number from 2")
        return cls(tuple(leaders), seeds)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {"leaders": list(self.leaders), "seeds": self.seeds}


def difference(there: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Say in what a search that was begun differs from one that is asked for.

    Args:
        there: ``SearchConfig.to_dict`` or ``identity`` of the search that was begun.
        asked: The same of what is asked for now; what is not in it does not count.

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
    "task": (f"one of {', '.join(TASKS)}", lambda value: value in list(TASKS)),
}


def _check(values: Mapping[str, Any], kinds: Mapping[str, Kind], path: str, prefix: str) -> None:
    for name, (kind, is_right) in kinds.items():
        if name not in values:
            raise RunError(f"{path}: {prefix}{name} is missing")
        if not is_right(values[name]):
            shown = str(values[name])[:60]
            raise RunError(f"{path}: {prefix}{name}: {shown!r} is not {kind}")
