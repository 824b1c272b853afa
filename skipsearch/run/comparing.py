"""Comparison of runs: their agreement on the best designs and levels."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from skipsearch import analysis
from skipsearch.errors import RunError
from skipsearch.run.folder import Run


def compare(runs: Sequence[Run]) -> pd.DataFrame:
    """Return the agreement of runs on what is best; see ``analysis.compare`` for the columns.

    Args:
        runs: Two or more runs, with different data, metrics or budgets.

    Raises:
        RunError: If there are fewer than two, or one has nothing to compare.
    """
    names = [str(run.path) for run in runs]
    if len(set(names)) < len(names):
        raise RunError("compare: a run is named twice")
    return analysis.compare(
        {
            name: analysis.Compared(
                run.trials(), run.config.rungs, run.fields(), run.config.task.metric.name
            )
            for name, run in zip(names, runs, strict=True)
        }
    )
