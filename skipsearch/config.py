"""The configuration of a search: the contents of ``run.yaml``, and the comparison of two searches.

A search is identified by its settings and by the content of its data, not by the location of the
data, nor by the name or source of the space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, SkipSearchError, refuse_unknown_keys
from skipsearch.plan import ImageSize
from skipsearch.recipe import Recipe
from skipsearch.record import ASK_BEST
from skipsearch.space import Space
from skipsearch.task import CLASSIFICATION, TASKS, Baseline, Scale, Task, all_metrics
from skipsearch.text import parse_yaml, read_text

CONFIG = "run.yaml"  # file of the configuration in a run folder
FORMAT = 1
METRICS = [metric.name for metric in all_metrics()]
# Values that must be the same when a search is resumed.
FIXED = (
    *("space", "data", "recipe", "seed", "scheduler", "stopping", "objectives", "latency_batch"),
    *("storage", "ask", "margin"),
)
# Values that older runs lack.
ADDED = {
    "stopping": EarlyStopping().details(),
    "objectives": [CLASSIFICATION.metric.validation],
    "latency_batch": None,
    "seeds": 1,
    "storage": None,
    "ask": [ASK_BEST],
    "margin": None,
}
DATA_ADDED = {
    "task": CLASSIFICATION.name,
    "task_version": 1,
    "sigma": 0.0,
    "baseline": None,
    "pixels": "uint8",
    "is_given": False,
    "metric": None,
    "folds": None,
    "skip_damaged": False,
    "group_folders": False,
    "cache": True,
    "class_names": None,
}
# Values that distinguish data sets, causes before their consequences.
SAME_DATA = (
    *(
        "task",
        "task_version",
        "metric",
        "folds",
        "sigma",
        "resized_to",
        "group_folders",
        "split_seed",
    ),
    *("class_names", "fingerprint"),
)


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The data set of a search, as it was read.

    Attributes:
        name: Name of the data set, or the path that it was read from.
        root: Folder of its files; None for the default.
        resized_to: Height and width that images were resized to, in pixels; None if they were not.
        split_seed: Seed of the validation split.
        fingerprint: Hash of images, labels and splits.
        in_channels: Number of image channels.
        image_size: Side of square images in pixels, or height and width.
        classes: Number of outputs: classes, or channels of a restored image.
        train_images: Number of training images of the first training.
        validation_images: Number of its validation images.
        source: Description of its origin.
        task: Task that networks are trained for.
        task_version: Version of the trainings for this task, see ``Task.changes``.
        sigma: Standard deviation of the noise that denoising removes, in grey levels of 0..255.
        baseline: Score of the trivial baseline on the validation images; None if unknown.
        pixels: Type of the pixels.
        is_given: Whether the data were given in Python, so that they must be given again.
        metric: Name of the metric by which networks are judged; None for that of the task.
        folds: Number of folds of the training and validation images; None for fixed splits.
        skip_damaged: Whether image files that could not be read were left out.
        group_folders: Whether the folders inside a class are groups of images.
        cache: Whether a folder is decoded once, into the cache.
        class_names: First names of the classes, labels or targets, with a hash of all; None if the
            run is older, or the task has none.
    """

    name: str
    root: str | None = None
    resized_to: ImageSize | None = None
    split_seed: int
    fingerprint: str
    in_channels: int
    image_size: ImageSize
    classes: int
    train_images: int
    validation_images: int
    source: str
    task: str = CLASSIFICATION.name
    task_version: int = 1
    sigma: float = 0.0
    baseline: float | None = None
    pixels: str = "uint8"
    is_given: bool = False
    metric: str | None = None
    folds: int | None = None
    skip_damaged: bool = False
    group_folders: bool = False
    cache: bool = True
    class_names: str | None = None

    @property
    def judged_task(self) -> Task:
        """Task with the metric of the search."""
        return TASKS[self.task].judged_by(self.metric)

    @property
    def scale(self) -> Scale:
        """Scale on which differences between validation scores are judged."""
        return Scale(
            self.judged_task.metric, self.validation_images, self.baseline, self.folds or 1
        )

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a description from plain values."""
        pairs: dict[str, Any] = {
            name: tuple(v) if isinstance(v, list) else v for name, v in values.items()
        }
        return cls(**pairs)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}


@dataclass(frozen=True, kw_only=True)
class SearchConfig:
    """The configuration of a search.

    Attributes:
        space: Search space.
        data: Data set.
        recipe: Recipe of the trainings, including the full budget of epochs.
        seed: Seed of the sampler and of the first training of each design.
        sampler: Name of the sampler, or the user's own class.
        stopping: Early stopping of trainings.
        rungs: Epochs at which trainings are compared, the full budget last.
        objectives: The validation score, named after the task's metric as in
            ``validation_accuracy``, and the costs to minimise beside it.
        latency_batch: Batch size of the latency measurement; None if latency is no objective.
        trials: Number of trainings in the run.
        seeds: Maximum number of trainings of one design.
        storage: URL of the study's database, without a password; None for the run folder's file.
        ask: Axes that the search compares, or ``best``.
        margin: Difference in mean score that is too small to matter; None unless axes are compared.
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
            RunError: If the file is damaged or has another format.
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
        """Build a configuration from plain values of this or an earlier version's ``to_dict``.

        Raises:
            SpaceError, DesignError: If the space or the recipe is invalid.
            RunError: If the early stopping is invalid or a key is unknown.
        """
        values = {**ADDED, **values}
        refuse_unknown_keys(values, ("format", *VALUES), "search", RunError)
        refuse_unknown_keys(values["data"], DATA_VALUES, "data set", RunError)
        details = EarlyStopping().details()
        refuse_unknown_keys(values["stopping"], details, "stopping", RunError)
        return cls(
            space=Space.from_dict(values["space"], "space"),
            data=DataConfig.from_dict(values["data"]),
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
            "data": self.data.to_dict(),
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
        """Return the plain values that identify the search, as stored in its study."""
        values = self.to_dict()
        kept = {name: values[name] for name in FIXED if name != "storage"}
        return kept | {"data": _data(values["data"])}

    @property
    def task(self) -> Task:
        """Task that networks are trained for."""
        return self.data.judged_task

    @property
    def scale(self) -> Scale:
        """Scale on which differences between validation scores are judged."""
        return self.data.scale

    @property
    def baseline(self) -> Baseline | None:
        """Score of the trivial baseline on the validation images; None if an older run lacks it."""
        score = self.data.baseline
        return None if score is None else Baseline(self.task, score)

    @property
    def image_sizes(self) -> dict[str, Any]:
        """Sizes of the data set, as arguments of ``cost`` and ``Space.for_images``."""
        names = ("in_channels", "image_size", "classes")
        return {name: getattr(self.data, name) for name in names}


# Fields that are plain values already.
PLAIN = ("seed", "sampler", "latency_batch", "trials", "seeds", "storage", "margin")


@dataclass(frozen=True)
class ConfirmConfig:
    """The configuration of ``confirm``: the contents of ``confirm.yaml``.

    Attributes:
        leaders: Designs that are trained again, as ``DESIGN-RECIPE``.
        seeds: Maximum number of new seeds.
    """

    leaders: tuple[str, ...]
    seeds: int

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read ``confirm.yaml``.

        Raises:
            RunError: If the file is damaged.
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


def _data(values: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = DATA_ADDED | dict(values)
    given["metric"] = given["metric"] or TASKS[given["task"]].metric.name
    return {name: given.get(name) for name in SAME_DATA}


def _is_same_data(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    names = ("task", "task_version", "metric", "folds", "class_names", "fingerprint")
    return all(old[name] == new[name] for name in names)


MEANING: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "space": _space,
    "recipe": _recipe,
    "data": _data,
}


def _first_difference(name: str, old: Any, new: Any) -> str:
    """Describe the first difference between two plain values."""
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


def _is_image_size(value: Any) -> bool:
    return _is_count(value) or (_list_of(_is_count)(value) and len(value) == 2)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and bool(value >= 0)


def _is_positive(value: Any) -> bool:
    return _is_number(value) and bool(value > 0)


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
YES_NO: Kind = ("true or false", lambda value: isinstance(value, bool))
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
    "resized_to": ("an image size or nothing", _or_none(_is_image_size)),
    "split_seed": WHOLE,
    "fingerprint": TEXT,
    "in_channels": COUNT,
    "image_size": ("a positive whole number, or height and width", _is_image_size),
    "classes": COUNT,
    "train_images": COUNT,
    "validation_images": COUNT,
    "source": ("a text", lambda value: isinstance(value, str)),
    "sigma": ("a number from 0", _is_amount),
    "baseline": ("a number or nothing", _or_none(_is_number)),
    "task_version": COUNT,
    "task": (f"one of {', '.join(TASKS)}", lambda value: value in list(TASKS)),
    "pixels": TEXT,
    "is_given": YES_NO,
    "metric": (
        f"one of {', '.join(METRICS)}, or nothing",
        lambda value: value is None or value in METRICS,
    ),
    "folds": ("a positive whole number or nothing", _or_none(COUNT[1])),
    "skip_damaged": YES_NO,
    "group_folders": YES_NO,
    "cache": YES_NO,
    "class_names": ("a text or nothing", _or_none(_is_text)),
}


def _check(values: Mapping[str, Any], kinds: Mapping[str, Kind], path: str, prefix: str) -> None:
    for name, (kind, is_right) in kinds.items():
        if name not in values:
            raise RunError(f"{path}: {prefix}{name} is missing")
        if not is_right(values[name]):
            shown = str(values[name])[:60]
            raise RunError(f"{path}: {prefix}{name}: {shown!r} is not {kind}")
