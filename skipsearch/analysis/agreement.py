"""Agreement of several runs: do they rank the same designs and levels in the same order?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import pandas as pd
from scipy.special import ndtri

from skipsearch.analysis.observations import common_rung
from skipsearch.analysis.ranking import CONFIDENCE, level
from skipsearch.errors import RunError
from skipsearch.record import Trial

FEWEST = 6  # minimum number of ranked items for a useful interval


@dataclass(frozen=True, slots=True)
class Compared:
    """A run to compare.

    Attributes:
        trials: Records of the run.
        rungs: Epochs at which values are compared, in ascending order.
        axes: Searched fields of the design.
        metric: Name of the metric by which its networks were judged.
    """

    trials: Sequence[Trial]
    rungs: Sequence[int]
    axes: Sequence[str]
    metric: str


def compare(runs: Mapping[str, Compared]) -> pd.DataFrame:
    """Return the agreement of each pair of runs.

    All values of a run are from the same epoch, the highest rung that all trainings without failure
    reached, so that early stopping has no influence. The value of a design is its mean over seeds
    and recipes, that of a level the mean over its designs. Only designs that both runs have trained
    are compared. Only orders are, so that runs may have different metrics: the best comes first by
    each. Noise lowers the correlation: even two runs of one search may not reach 1.

    Args:
        runs: Two or more runs by name.

    Returns:
        One row for each pair of runs and each ranking, with columns

        run, other           names of the two runs
        by                   design, or the field whose levels are ranked
        n                    number of ranked designs or levels that both runs have
        tau                  Kendall's tau-b: 1 for the same order, -1 for the opposite
        low, high            95 % interval, by Fisher's z with the variance 0.437 / (n - 4) (Fieller
                             et al. 1957, doi:10.1093/biomet/44.3-4.470); a perfect tau counts as
                             half a pair less than perfect; NaN for n below 6
        best, best_other     first item of each ranking
        epochs, epochs_other epoch of the values
        metric, metric_other names of the metrics

    Raises:
        RunError: If fewer than two runs are given, or one has nothing to compare.
    """
    if len(runs) < 2:
        raise RunError("compare: give two runs or more")
    values = {name: _values(name, run) for name, run in runs.items()}
    rows = []
    for a, b in combinations(runs, 2):
        (epochs, first), (epochs_other, second) = values[a], values[b]
        common = [design for design in first if design in second]
        fields = [axis for axis in runs[a].axes if axis in runs[b].axes]
        orders = {"design": ({d: first[d][0] for d in common}, {d: second[d][0] for d in common})}
        for axis in fields:
            orders[axis] = (_by_level(first, common, axis), _by_level(second, common, axis))
        for by, (order, other) in orders.items():
            tau, low, high = _agreement(order, other)
            rows.append(
                {
                    "run": a,
                    "other": b,
                    "by": by,
                    "n": len(order),
                    "tau": tau,
                    "low": low,
                    "high": high,
                    "best": max(order, key=order.__getitem__, default=""),
                    "best_other": max(other, key=other.__getitem__, default=""),
                    "epochs": epochs,
                    "epochs_other": epochs_other,
                    "metric": runs[a].metric,
                    "metric_other": runs[b].metric,
                }
            )
    return pd.DataFrame(rows)


Values = dict[str, tuple[float, Trial]]  # mean score and one of the trainings, by design


def _values(name: str, run: Compared) -> tuple[int, Values]:
    epochs = common_rung(run.trials, run.rungs)
    trials = [trial for trial in run.trials if len(trial.curve) >= epochs]
    if not trials:
        raise RunError(f"{name}: no training has reached epoch {epochs}: nothing to compare")
    by_design: dict[str, list[Trial]] = {}
    for trial in trials:
        by_design.setdefault(trial.design.id, []).append(trial)
    return epochs, {
        design: (fmean(trial.curve[epochs - 1].validation_score for trial in group), group[0])
        for design, group in by_design.items()
    }


def _by_level(values: Values, designs: Iterable[str], axis: str) -> dict[str, float]:
    """Return the mean over the designs with each level of an axis."""
    by_level: dict[str, list[float]] = {}
    for design in designs:
        value, trial = values[design]
        by_level.setdefault(str(level(trial, axis)), []).append(value)
    return {name: fmean(group) for name, group in by_level.items()}


def _agreement(order: Mapping[str, float], other: Mapping[str, float]) -> tuple[float, ...]:
    if len(order) < 2:
        return math.nan, math.nan, math.nan
    from scipy.stats import kendalltau  # slow to import

    tau = float(kendalltau(list(order.values()), [other[name] for name in order]).statistic)
    if len(order) < FEWEST or math.isnan(tau):
        return tau, math.nan, math.nan
    half = float(ndtri(0.5 + CONFIDENCE / 2)) * math.sqrt(0.437 / (len(order) - 4))
    most = 1 - 1 / math.comb(len(order), 2)
    z = math.atanh(max(-most, min(tau, most)))
    return tau, math.tanh(z - half), math.tanh(z + half)
