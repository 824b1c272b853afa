"""Share of the variance over the space that each axis and each pair of axes explains."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipsearch.analysis.knowledge import Knowledge
from skipsearch.surrogate.answers import interval, sobol_shares

MOST_PAIRS = 200  # axes of a free layout have hundreds of pairs
COLUMNS = ("axis", "other", "epochs", "designs", "share", "low", "high")


def importance(known: Knowledge) -> pd.DataFrame:
    """Return the shares of the variance over the designs of the space that axes explain.

    These are Sobol indices of first and second order of the posterior over the space, at the full
    budget, see ``sobol_shares``: the variance of the levels' means, over that of all designs. For
    which level is better, and by how much, see ``effects``. The rest of the variance is due to
    three or more axes, or specific to single designs.

    Args:
        known: Posterior from ``learn``.

    Returns:
        One row for each axis with two or more levels, the one that explains most first, then one
        row for each pair of them, with columns

        axis
        other        the other axis of a pair; empty for a single axis
        epochs       budget of the values
        designs      number of considered designs of the space
        share        share of the variance, from 0 to 1; for a pair, that beyond the shares of its
                     two axes
        low, high    its 95 % interval
    """
    codes = {axis: known.coded(axis)[0][known.common] for axis in known.axes}
    varied = {axis: each for axis, each in codes.items() if len(np.unique(each)) > 1}
    shares = sobol_shares(known.draws[:, known.common], varied, MOST_PAIRS)
    rows = []
    for names in ({(axis, ""): each for axis, each in shares.main.items()}, shares.pairs):
        part = []
        for (axis, other), each in names.items():
            low, high = interval(np.clip(each, 0.0, 1.0)[:, None])
            part.append(
                {
                    "axis": axis,
                    "other": other,
                    "epochs": known.epochs,
                    "designs": int(known.common.sum()),
                    "share": float(np.clip(each, 0.0, 1.0).mean()),
                    "low": low[0],
                    "high": high[0],
                }
            )
        rows += sorted(part, key=lambda row: -row["share"])
    return pd.DataFrame(rows, columns=COLUMNS)
