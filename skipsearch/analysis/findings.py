"""All results of a run, for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from skipsearch.analysis.audit import Audit
from skipsearch.analysis.confirm.confirmation import Confirmation
from skipsearch.analysis.depth.answer import Degradation
from skipsearch.analysis.figures import (
    leader_names,
)
from skipsearch.config import SearchConfig
from skipsearch.gallery import Gallery
from skipsearch.metric import Metric
from skipsearch.record import Trial


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All results of a run.

    Attributes:
        path: Absolute path of the run folder.
        config: Configuration of the search.
        trials: Records of the run.
        ranking: Ranking from ``rank``.
        front: Front from ``pareto`` for the score and parameters.
        audit: Result of ``audit``.
        effects: Table of ``effects``.
        importance: Table of ``importance``.
        interactions: Table of ``interactions`` for each pair of fields.
        degradation: Result of ``degradation``; None if only one depth was searched.
        confirmation: Result of ``confirm``; None if it was never called.
        damage: Reason why the confirmation is not readable; empty if it is.
        gallery: Predictions of the leader, if the task has values for each pixel; None if it was
            not exported.
    """

    path: Path
    config: SearchConfig
    trials: Sequence[Trial]
    ranking: pd.DataFrame
    front: pd.DataFrame
    audit: Audit
    effects: pd.DataFrame
    importance: pd.DataFrame
    interactions: Sequence[pd.DataFrame]
    degradation: Degradation | None = None
    confirmation: Confirmation | None = None
    damage: str = ""
    gallery: Gallery | None = None

    @property
    def metric(self) -> Metric:
        """Metric of the scores."""
        return self.config.task.metric

    @property
    def images(self) -> dict[str, int]:
        """Sizes of the data set, as keywords of ``cost`` and ``draw_diagram``."""
        return self.config.image_sizes

    @property
    def leaders(self) -> dict[str, str]:
        """Short names of the first designs, by ``DESIGN-RECIPE``."""
        return leader_names(self.ranking)

    def trial(self, number: int) -> Trial:
        """Return the record with a number."""
        return next(trial for trial in self.trials if trial.number == number)
