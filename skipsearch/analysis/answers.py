"""Effects in words: a few sentences for each axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isnan
from typing import Any

import pandas as pd

from skipsearch.analysis.comparison import FOLDS, PAIRS, SEEDS
from skipsearch.analysis.effects import POSTERIOR, TIED, UNKNOWN, WORSE
from skipsearch.axes import level_name
from skipsearch.metric import Metric
from skipsearch.surrogate.sentences import (
    NOT_ENOUGH,
    OVER_SPACE,
    LevelResult,
    comparison,
    listed,
    needed,
)

Row = Mapping[Any, Any]


def answers(
    table: pd.DataFrame,
    metric: Metric,
    axes: Sequence[str] | None = None,
    controlled: str | None = None,
) -> list[str]:
    """Describe a table of effects in sentences.

    Args:
        table: Table of ``effects`` or ``paired_effects``.
        metric: Metric of the scores.
        axes: Axes of the table; None for all.
        controlled: Cost that was held constant, as for ``effects``.

    Returns:
        One text for each axis, in their order. Levels that were not trained are omitted.
    """
    axes = list(dict.fromkeys(table["axis"])) if axes is None else axes
    at_equal = f"at equal {controlled}, " if controlled else ""
    return [
        _answer(axis, table[table["axis"] == axis].to_dict("records"), metric, at_equal)
        for axis in axes
    ]


def open_axes(table: pd.DataFrame) -> list[str]:
    """Return the axes of a table of effects with a level that is neither worse nor tied."""
    return list(dict.fromkeys(table["axis"][table["verdict"] == UNKNOWN]))


def _answer(axis: str, rows: Sequence[Row], metric: Metric, at_equal: str) -> str:
    seen = [row for row in rows if row["n"]]
    if len(seen) < 2:
        only = f"only {_name(seen[0])} was trained" if seen else "nothing was trained"
        return f"{axis}: {only}; there is nothing to compare."
    first, *others = seen
    if first is not rows[0]:  # the reference was not trained: the model only predicts it
        return f"{axis}: {NOT_ENOUGH}{_further(rows)}."
    compared = comparison(_name(first), [_compared(row, metric) for row in others], metric)
    average = OVER_SPACE + at_equal if first["method"] == POSTERIOR else at_equal
    texts = [f"{average}{compared}" if compared else f"{NOT_ENOUGH}{_leads(first)}"]
    if first["best_verdict"]:
        texts.append(_at_best(seen, metric))
    if any(row["verdict"] == UNKNOWN for row in seen):
        texts[0] += _further(rows)
    return f"{axis}: {'. '.join(texts)}."


def _compared(row: Row, metric: Metric) -> LevelResult:
    difference, interval = metric.value(row["difference"]), (row["d_low"], row["d_high"])
    return LevelResult(_name(row), row["verdict"], difference, *metric.values(interval), _how(row))


def _how(row: Row) -> str:
    """Return the number and kind of the pairs of a difference."""
    how = {PAIRS: "pairs", SEEDS: "pairs of seeds", FOLDS: "pairs of folds"}.get(row["method"])
    return f"{row['pairs']} {how}" if how else ""


def _at_best(seen: Sequence[Row], metric: Metric) -> str:
    """Describe which level the best design has."""
    leader = max(seen, key=lambda row: row["chance"])
    span = metric.span((leader["best_low"], leader["best_high"]))
    text = (
        f"The best design has {_name(leader)} with a probability of {leader['chance']:.2f}"
        f" (95 % interval of its {metric.title}: {span})"
    )
    words = {row["best_verdict"] for row in seen if row["bd_low"] < row["bd_high"]}
    if words == {TIED}:
        return f"{text}; the best designs of all levels are tied"
    worse = [_name(row) for row in seen if row["best_verdict"] == WORSE]
    if not worse:
        return text
    are, their = ("are", "their") if len(worse) > 1 else ("is", "its")
    return f"{text}; {listed(worse)} {are} worse even at {their} best"


def _leads(first: Row) -> str:
    return f"; {_name(first)} leads" if first["mean"] == first["mean"] else ""


def _further(rows: Sequence[Row]) -> str:
    """Return how many trainings would settle an open question."""
    numbers = [row["further"] for row in rows if not isnan(row["further"])]
    return needed(max(numbers)) if numbers else ""


def _name(row: Row) -> str:
    return level_name(row["axis"], row["level"])
