"""All that is known of a run, for its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from skipsearch.analysis.audit import Audit
from skipsearch.analysis.confirm.confirmation import Confirmation
from skipsearch.analysis.depth.answer import Degradation
from skipsearch.analysis.figures import (
    leader_names,
)
from skipsearch.config import SearchConfig
from skipsearch.record import Trial
from skipsearch.task import Metric


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All that is known of a run.

    Attributes:
        config: What was asked of the search.
        trials: Its records.
        ranking: What ``rank`` returns.
        front: What ``pareto`` returns for the score and parameters.
        audit: What ``audit`` returns.
        effects: What ``effects`` returns.
        importance: What ``importance`` returns.
        interactions: What ``interactions`` returns for each two fields.
        degradation: What ``degradation`` returns; None where one depth alone was searched.
        confirmation: What ``confirm`` has found; None where it was never called.
        damage: Why what it has found cannot be read; empty where it can.
    """

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

    @property
    def metric(self) -> Metric:
        """What networks are judged by."""
        return self.config.task.metric

    @property
    def images(self) -> dict[str, int]:
        """Sizes of the data set, as ``cost`` and ``draw_diagram`` take them."""
        return self.config.image_sizes

    @property
    def leaders(self) -> dict[str, str]:
        """Short names of the first designs, by ``DESIGN-RECIPE``."""
        return leader_names(self.ranking)

    def trial(self, number: int) -> Trial:
        """Return a record by its number."""
        return next(trial for trial in self.trials if trial.number == number)
