"""The configuration of a search: the contents of ``run.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from skipsearch.config.data import DataConfig
from skipsearch.config.difference import FIXED, data_identity
from skipsearch.config.values import (
    ADDED,
    COUNT,
    DATA_ADDED,
    DATA_VALUES,
    TEXT,
    VALUES,
    check_values,
)
from skipsearch.early_stopping import EarlyStopping
from skipsearch.errors import RunError, SkipSearchError, refuse_unknown_keys
from skipsearch.metric import Scale
from skipsearch.recipe import Recipe
from skipsearch.space import Space
from skipsearch.task import Baseline, Task
from skipsearch.text import parse_yaml, read_text

CONFIG = "run.yaml"  # file of the configuration in a run folder
FORMAT = 1
# Fields that are plain values already.
PLAIN = ("seed", "sampler", "latency_batch", "trials", "seeds", "storage", "margin")


# Names of samplers; any other name in a configuration is that of the user's own class.
SAMPLERS = ("surrogate", "tpe", "random", "grid", "gp", "nsga2", "evolution", "local")


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
        check_values(ADDED | values, VALUES, str(path), "")
        check_values(DATA_ADDED | values["data"], DATA_VALUES, str(path), "data.")
        check_values(values["space"], {"name": TEXT}, str(path), "space.")
        check_values(values["recipe"], {"epochs": COUNT}, str(path), "recipe.")
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
        return kept | {"data": data_identity(values["data"])}

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
