"""Effects in words: a few sentences an axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf, isnan
from typing import Any

import pandas as pd

from skipsearch.analysis.comparison import PAIRS, SEEDS
from skipsearch.analysis.effects import POSTERIOR, TIED, UNKNOWN, WORSE
from skipsearch.axes import level_name
from skipsearch.task import Metric

NAMED = 4  # levels that a sentence names; of more it says how many

Row = Mapping[Any, Any]


def answers(table: pd.DataFrame, metric: Metric, axes: Sequence[str] | None = None) -> list[str]:
    """Say what a table of effects says.

    Args:
        table: As ``effects`` or ``paired_effects`` returns it.
        metric: Metric of the scores.
        axes: Axes of the table; None for all.

    Returns:
        One text an axis, in the order of the axes. Levels that were not trained are left out.
    """
    axes = list(dict.fromkeys(table["axis"])) if axes is None else axes
    return [_answer(axis, table[table["axis"] == axis].to_dict("records"), metric) for axis in axes]


def open_axes(table: pd.DataFrame) -> list[str]:
    """Return the axes of a table of effects of which a level is neither worse nor tied."""
    return list(dict.fromkeys(table["axis"][table["verdict"] == UNKNOWN]))


def _answer(axis: str, rows: Sequence[Row], metric: Metric) -> str:
    seen = [row for row in rows if row["n"]]
    if len(seen) < 2:
        only = f"only {_name(seen[0])} was trained" if seen else "nothing was trained"
        return f"{axis}: {only}; there is nothing to compare."
    first, *others = seen
    if first is not rows[0]:  # the reference was not trained: only the model speaks of it
        return f"{axis}: Not enough data to tell{_further(rows)}."
    by_average = _compared(first, others, metric)
    average = "On average over the space, " if first["method"] == POSTERIOR else ""
    texts = [f"{average}{by_average}" if by_average else f"Not enough data to tell{_leads(first)}"]
    if first["best_verdict"]:
        texts.append(_at_best(seen, metric))
    if any(row["verdict"] == UNKNOWN for row in seen):
        texts[0] += _further(rows)
    return f"{axis}: {'. '.join(texts)}."


def _compared(first: Row, others: Sequence[Row], metric: Metric) -> str:
    """Say what is worse and what is tied; nothing where all is open."""
    worse, tied, unknown = (
        [row for row in others if row["verdict"] == word] for word in (WORSE, TIED, UNKNOWN)
    )
    if not worse and not tied:
        return ""
    parts, unit = [], metric.difference_unit
    if worse:
        nearest, *rest = sorted(worse, key=lambda row: -row["difference"])
        lead, low, high = (-metric.factor * nearest[n] for n in ("difference", "d_high", "d_low"))
        lead_in_words = f"{lead:.1f} {unit} ({low:.1f} to {high:.1f}{_how(nearest)})"
        more = f" and {_names(rest)} by more" if rest else ""
        parts.append(f"{_name(first)} beats {_name(nearest)} by {lead_in_words}{more}")
    if tied:
        start = "it" if worse else _name(first)
        spans = [
            f"{metric.factor * row['d_low']:+.1f} to {metric.factor * row['d_high']:+.1f}"
            for row in tied[:NAMED]
        ]
        parts.append(f"{start} is tied with {_names(tied)} ({', '.join(spans)} {unit})")
    if unknown:
        parts.append(f"{_names(unknown)} cannot be told from it yet")
    return "; ".join(parts)


def _how(row: Row) -> str:
    """Say what a difference was paired by."""
    how = {PAIRS: "pairs", SEEDS: "pairs of seeds"}.get(row["method"])
    return f"; {row['pairs']} {how}" if how else ""


def _at_best(seen: Sequence[Row], metric: Metric) -> str:
    """Say which level the best design has."""
    leader = max(seen, key=lambda row: row["chance"])
    low, high = metric.factor * leader["best_low"], metric.factor * leader["best_high"]
    text = (
        f"The best design has {_name(leader)} with a probability of {leader['chance']:.2f}"
        f" (best {metric.title} {low:.1f} to {high:.1f} {metric.unit})"
    )
    words = {row["best_verdict"] for row in seen if row["bd_low"] < row["bd_high"]}
    if words == {TIED}:
        return f"{text}; at their best all are tied"
    worse = [row for row in seen if row["best_verdict"] == WORSE]
    return (
        f"{text}; {_names(worse)} {_are(worse)} worse even at {_its(worse)} best" if worse else text
    )


def _leads(first: Row) -> str:
    return f"; {_name(first)} leads" if first["mean"] == first["mean"] else ""


def _further(rows: Sequence[Row]) -> str:
    """Say how many trainings would settle an open question."""
    numbers = [row["further"] for row in rows if not isnan(row["further"])]
    if not numbers:
        return ""
    number = max(numbers)
    text = "more than 100" if isinf(number) else f"about {max(1, round(number))}"
    return f" ({text} further trainings would tell)"


def _are(rows: Sequence[Row]) -> str:
    return "are" if len(rows) > 1 else "is"


def _its(rows: Sequence[Row]) -> str:
    return "their" if len(rows) > 1 else "its"


def _names(rows: Sequence[Row]) -> str:
    if len(rows) > NAMED:
        return f"{len(rows)} others"
    *some, last = map(_name, rows)
    return f"{', '.join(some)} and {last}" if some else last


def _name(row: Row) -> str:
    return level_name(row["axis"], row["level"])
