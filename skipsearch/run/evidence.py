"""Evidence of a run: its configuration, its records, and the answers of ``analysis``.

Everything is in memory: ``Run`` reads the records.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from skipsearch import analysis
from skipsearch.axes import split_name
from skipsearch.config import SearchConfig
from skipsearch.errors import RunError, not_one_of
from skipsearch.record import Trial
from skipsearch.space import Space


def varied_fields(space: Space) -> list[str]:
    """Return the fields of a design that the axes of a space set, and the layout field."""
    fields = [split_name(name).field for name in space.axes]
    return list(dict.fromkeys([*fields, "layout"]))


def margin_of(config: SearchConfig) -> float:
    """Return the default difference between scores that is too small to matter."""
    return config.scale.margin if config.margin is None else config.margin


@dataclass(frozen=True, eq=False)
class Evidence:
    """The records of a search, and its configuration.

    Attributes:
        config: Configuration of the search.
        space: Searched space, for the images of the data set.
        trials: Records of all trainings.
    """

    config: SearchConfig
    space: Space
    trials: Sequence[Trial]

    @property
    def fields(self) -> list[str]:
        """Fields of a design that the axes set, and the layout field."""
        return varied_fields(self.space)

    def rank(self) -> pd.DataFrame:
        """Rank the designs; see ``Run.rank``."""
        return analysis.rank(self.trials, self.config.rungs, self.config.scale, self.fields)

    def pareto(self, objectives: Sequence[str]) -> pd.DataFrame:
        """Return the Pareto front of the designs; see ``Run.pareto``."""
        return analysis.pareto(self.trials, objectives, self.config.scale, self.fields)

    def degradation(
        self, epochs: int | None = None, loss: float | None = None
    ) -> analysis.Degradation:
        """Return the effect of depth on the designs; see ``Run.degradation``."""
        budget = self.config.recipe.epochs
        if epochs is not None and not 1 <= epochs <= budget:
            raise RunError(f"epochs: {epochs} is not from 1 to the full budget of {budget}")
        axes = [field for field in self.fields if field != "depths"]
        train = self.config.data.train_images
        return analysis.degradation(
            self.trials, train, self.config.scale, epochs=epochs, loss=loss, axes=axes
        )

    def learn(
        self, epochs: int | None = None, *, with_costs: bool = False
    ) -> analysis.Knowledge | None:
        """Return the posterior over the whole space; None if too few designs were trained.

        Args:
            epochs: Budget of the scores in epochs, one of the rungs; None for the full budget.
            with_costs: Whether the costs of all designs are needed.

        Raises:
            RunError: If the run does not have the rung.
        """
        config = self.config
        if epochs is not None and epochs not in config.rungs:
            raise RunError(f"epochs: {not_one_of(epochs, map(str, config.rungs))}")
        budget = config.recipe.epochs
        return analysis.learn(self.trials, self.space, budget, config.scale, epochs, with_costs)

    def effects(
        self,
        known: analysis.Knowledge | None,
        axis: str | None = None,
        controlled: str | None = None,
        margin: float | None = None,
    ) -> pd.DataFrame:
        """Compare the levels of each axis.

        Args:
            known: Posterior from ``learn``.
            axis: Axis as for ``Run.effects``.
            controlled: Cost as for ``Run.effects``.
            margin: Margin as for ``Run.effects``.
        """
        margin = margin_of(self.config) if margin is None else margin
        if known is None:
            # Raises an error for an unknown axis or cost, and has no rows.
            return analysis.paired_effects(self._observe([]), axis, controlled, margin)
        if self._is_paired(known):
            seen = self._observe(self.trials, known.epochs)
            return analysis.paired_effects(seen, axis, controlled, margin)
        return analysis.effects(known, axis, controlled, margin)

    def effects_of_all(self, known: analysis.Knowledge | None) -> pd.DataFrame:
        """Compare the levels of each axis, and of the fields that the search investigates."""
        table = self.effects(known)
        missing = [axis for axis in self.config.ask if axis in self.fields]
        missing = [axis for axis in missing if not table.empty and axis not in set(table["axis"])]
        return pd.concat([table, *(self.effects(known, axis) for axis in missing)])

    def interactions(
        self,
        known: analysis.Knowledge | None,
        first: str,
        second: str,
        margin: float | None = None,
    ) -> pd.DataFrame:
        """Return the dependence of one axis's effect on another; see ``Run.interactions``."""
        if known is None:
            for axis in (first, second):
                self._observe([]).check(axis)
            return pd.DataFrame(columns=[first, second])
        margin = margin_of(self.config) if margin is None else margin
        return analysis.interactions(known, first, second, margin)

    def _is_paired(self, known: analysis.Knowledge) -> bool:
        """Return whether every design was trained in full with two seeds or more."""
        if self.config.sampler != "grid" or not known.common.all():
            return False
        full = [trial for trial in self.trials if len(trial.curve) >= known.epochs]
        seeds = Counter(trial.key for trial in full)
        return len(seeds) == len(known.levels) and min(seeds.values()) > 1

    def _observe(self, trials: Sequence[Trial], epochs: int | None = None) -> analysis.Observations:
        axes = list(self.space.parameters)
        return analysis.observe(trials, self.config.rungs, self.config.scale, axes, epochs)
