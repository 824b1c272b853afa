"""Columns of tables that bear the name of a metric, or are in its unit."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from skipsearch.metric import Metric


def as_values(
    table: pd.DataFrame,
    metric: Metric,
    columns: Iterable[str],
    intervals: Iterable[tuple[str, str]] = (),
) -> pd.DataFrame:
    """Return a table with the values of a metric instead of scores.

    Args:
        table: Table of scores, and of differences between them.
        metric: Metric of the scores.
        columns: Columns of scores or differences.
        intervals: Columns of both ends of each interval.
    """
    if not metric.is_error:
        return table
    changed = {name: 0.0 - table[name] for name in columns}  # never -0.0
    for low, high in intervals:
        changed |= {low: 0.0 - table[high], high: 0.0 - table[low]}
    return table.assign(**changed)
