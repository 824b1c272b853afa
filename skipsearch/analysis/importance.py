"""How much of the variation over the space each axis explains, and each pair of axes."""

from __future__ import annotations

import numpy as np
import pandas as pd

from skipsearch.analysis.knowledge import Knowledge
from skipsearch.surrogate.answers import interval, sobol_shares

MOST_PAIRS = 200  # axes of a free layout have hundreds of pairs
COLUMNS = ("axis", "other", "epochs", "designs", "share", "low", "high")


def importance(known: Knowledge) -> pd.DataFrame:
    """Return how much of the variance over the designs of the space axes explain.

    These are Sobol's shares of first and second order of the posterior over the space, at the full
    budget, see ``sobol_shares``: the variance of the levels' means, over that of all designs. They
    say neither which level is better nor how much it gains; ``effects`` does. What no axis and no
    pair explains is of three axes and more, or a design's own.

    Args:
        known: What ``learn`` returns.

    Returns:
        One row an axis that has two levels or more, the one that explains most first, and then one
        row a pair of them, with columns

        axis
        other        the other axis of a pair; empty for an axis alone
        epochs       the budget that the accuracies are at
        designs      of the space, that were looked at
        share        of the variance, from 0 to 1; of a pair beyond what each of the two explains
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
