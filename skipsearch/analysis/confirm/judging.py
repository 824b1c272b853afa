"""The choice of the leaders to train again, and the verdict on these trainings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import count, takewhile
from statistics import fmean, stdev

import pandas as pd

from skipsearch.analysis.columns import as_values
from skipsearch.analysis.confirm.chance import DIGITS, chance_of_best
from skipsearch.analysis.confirm.confirmation import LEAST_ROUNDS, SURE, Confirmation, finals
from skipsearch.analysis.ranking import grouped, interval, level
from skipsearch.ids import is_meant
from skipsearch.metric import Metric, Scale
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, Trial

NAN = float("nan")


def leaders(
    ranking: pd.DataFrame, trials: Iterable[Trial], top: int, keep: Collection[str] = ()
) -> list[list[Trial]]:
    """Return the leaders of a search as the trainings of each design and recipe.

    Those that reached the full budget are first in a ranking. If there are too few of them, the
    best of those that were stopped early follow, and are now trained in full.

    Args:
        ranking: Ranking of the search, from ``rank``.
        trials: Records of the search.
        top: Number of designs.
        keep: Further designs to include, as ``DESIGN-RECIPE``: leaders of an earlier confirmation.

    Returns:
        Leaders, the highest-ranked first.
    """
    groups = {group[0].key: group for group in grouped(trials)}
    keys = ranking.design + "-" + ranking.recipe
    chosen = {*keys[ranking.state.isin((COMPLETE, PRUNED))].head(top)}
    return [
        groups[key] for key in keys if key in chosen or any(is_meant(key, name) for name in keep)
    ]


def confirmation(
    leaders: Sequence[Sequence[Trial]],
    trainings: Iterable[Trial],
    first_seed: int,
    seeds: int,
    scale: Scale,
    axes: Sequence[str] = ("layout", "shortcut", "merge", "depths"),
) -> Confirmation:
    """Judge leaders by their results with new seeds.

    The result depends only on the records: a confirmation that resumes after an interruption, or
    with more seeds, is judged like one without interruption.

    Args:
        leaders: Leaders from ``leaders``, at least one.
        trainings: Records of the trainings with new seeds, including running ones.
        first_seed: First of the new seeds; others follow, modulo 2**32.
        seeds: Maximum number of new seeds.
        scale: Metric and number of validation images.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.
    """
    firsts = [group[0] for group in leaders]
    keys = [leader.key for leader in firsts]
    ended = {(trial.key, trial.seed): trial for trial in trainings if _is_ended(trial)}
    failures = {key: trial.reason for (key, _), trial in ended.items() if trial.state == FAIL}
    racing = [leader for leader in firsts if leader.key not in failures]

    def seed(number: int) -> int:
        return (first_seed + number) % 2**32

    def is_done(number: int) -> bool:
        return all((leader.key, seed(number)) in ended for leader in racing)

    rounds = sum(1 for _ in takewhile(is_done, count())) if racing else 0
    counted = [
        ended[key, seed(number)]
        for key in keys
        for number in range(rounds)
        if (key, seed(number)) in ended
    ]
    seen = {key: finals(trial for trial in counted if trial.key == key) for key in keys}
    chances = dict.fromkeys(keys, NAN) | dict.fromkeys(failures, 0.0)
    if rounds >= 2:
        found = chance_of_best([seen[leader.key] for leader in racing], scale)
        chances |= zip((leader.key for leader in racing), found.tolist(), strict=True)
    rows = [
        _row(group, seen[key], scale)
        | {"chance": chances[key], "reason": failures.get(key, "")}
        | {axis: level(group[0], axis) for axis in axes}
        for key, group in zip(keys, leaders, strict=True)
    ]
    table = _table(rows, axes, scale.metric)
    judged = Confirmation(
        table, scale.metric, scale.repeat, seeds, rounds, (), tuple(firsts), tuple(counted)
    )
    if judged.separated or rounds >= seeds:
        return judged
    last = max(rounds + 1, min(LEAST_ROUNDS, seeds))
    wanted = [
        (leader, seed(number))
        for number in range(last)
        for leader in racing
        if (leader.key, seed(number)) not in ended
    ]
    return replace(judged, wanted=tuple(wanted))


def _row(group: Sequence[Trial], scores: Sequence[float], scale: Scale) -> dict[str, object]:
    """Return the table row of a leader."""
    mean = fmean(scores) if scores else NAN
    low, high = interval(scores, scale)
    searched = NAN
    if all(trial.state == COMPLETE for trial in group):
        searched = fmean(finals(group))
    first = group[0]
    return {
        "design": first.design.id,
        "recipe": first.recipe.id,
        "trial": first.number,
        "n": len(scores),
        scale.metric.validation: mean,
        "sd": stdev(scores) if len(scores) > 1 else NAN,
        "low": low,
        "high": high,
        scale.metric.search: searched,
        "shrinkage": searched - mean,
        "shrinkage_low": searched - high,
        "shrinkage_high": searched - low,
        "params": first.params,
    }


def _table(rows: list[dict[str, object]], axes: Sequence[str], metric: Metric) -> pd.DataFrame:
    columns = [
        *("design", "recipe", "trial", "n", metric.validation, "sd", "low", "high"),
        *("chance", "tied", metric.search, "shrinkage", "shrinkage_low", "shrinkage_high"),
        *("params", *axes, "reason"),
    ]
    table = pd.DataFrame(rows, columns=columns)
    table["tied"] = _tied(table.chance)
    scores = table[metric.validation]
    order = pd.DataFrame(
        {
            "failed": table.reason != "",
            "loss": -(scores / (scores.abs().max() or 1.0)).round(DIGITS),
            "params": table.params,
        }
    )
    table = table.loc[order.sort_values([*order], kind="stable").index]
    table.index = pd.RangeIndex(1, len(table) + 1, name="place")
    return as_values(table, metric, [metric.validation, metric.search], [("low", "high")])


def _tied(chances: pd.Series) -> list[bool]:
    """Mark the smallest set that includes the best with probability ``SURE``, if it has several."""
    falling = chances.sort_values(ascending=False, kind="stable")
    better = falling.cumsum().shift(fill_value=0.0)
    within = better[better < SURE].index if falling.notna().all() else falling.index
    return [len(within) > 1 and place in within for place in chances.index]


def _is_ended(trial: Trial) -> bool:
    return trial.state == COMPLETE or (trial.state == FAIL and trial.reason != INTERRUPTED)
