"""Sentences that compare the levels of an axis."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf
from typing import NamedTuple

from skipsearch.errors import counted
from skipsearch.metric import Metric
from skipsearch.surrogate.answers import TIED, WORSE

NAMED = 4  # maximum number of levels that a sentence names; further ones are counted
OVER_SPACE = "On average over the space, "
NOT_ENOUGH = "Not enough data to tell"


class LevelResult(NamedTuple):
    """A level, compared with the best one.

    Attributes:
        name: Name of the level.
        verdict: ``worse`` or ``tied``; any other word if the comparison is open.
        difference: Score minus that of the best level.
        low: Lower end of the interval of the difference.
        high: Upper end of the interval of the difference.
        how: Number and kind of the pairs that were compared; empty without pairs.
    """

    name: str
    verdict: str
    difference: float
    low: float
    high: float
    how: str = ""


def comparison(best: str, others: Sequence[LevelResult], metric: Metric) -> str:
    """Describe which levels are worse than the best one, and which are tied with it.

    Args:
        best: Name of the best level.
        others: Results of the other levels.
        metric: Metric of the scores.

    Returns:
        The sentence without its full stop; empty if all comparisons are open.
    """
    worse = [level for level in others if level.verdict == WORSE]
    tied = [level for level in others if level.verdict == TIED]
    is_open = [level for level in others if level.verdict not in (WORSE, TIED)]
    if not worse and not tied:
        return ""
    parts = []
    if worse:
        nearest = sorted(worse, key=lambda level: -level.difference)
        leads = [_lead(level, metric) for level in nearest[:NAMED]]
        if len(nearest) > NAMED:
            leads.append(f"{len(nearest) - NAMED} others by more")
        parts.append(f"{best} beats {_joined(leads)}")
    if tied:
        names = listed([level.name for level in tied])
        parts.append(f"{'it' if worse else best} is tied with {names} ({_hull(tied, metric)})")
    if is_open:
        names = listed([level.name for level in is_open])
        parts.append(f"undecided: {names} ({_spans(is_open, metric)})")
    return "; ".join(parts)


def _lead(worse: LevelResult, metric: Metric) -> str:
    """Return the name of a worse level, and its difference from the best."""
    values = (worse.difference, worse.high, worse.low)
    lead, low, high = (metric.difference(-value) for value in values)
    how = f"; {worse.how}" if worse.how else ""
    return f"{worse.name} by {metric.with_unit(lead)} ({low} to {high}{how})"


def _hull(levels: Sequence[LevelResult], metric: Metric) -> str:
    """Return the smallest interval that contains those of all levels."""
    hull = min(level.low for level in levels), max(level.high for level in levels)
    return metric.with_unit(_span(hull, metric))


def _spans(levels: Sequence[LevelResult], metric: Metric) -> str:
    """Return the intervals of the first few levels."""
    spans = [_span((level.low, level.high), metric) for level in levels[:NAMED]]
    return metric.with_unit(", ".join(spans))


def _span(interval: tuple[float, float], metric: Metric) -> str:
    """Return an interval of the difference between values, from one between scores."""
    low, high = (metric.difference(end, "+") for end in metric.values(interval))
    return f"{low} to {high}"


def needed(further: float) -> str:
    """Return the number of further trainings that would settle an open question, in words.

    Args:
        further: Estimate of ``further_trainings``.
    """
    if isinf(further):
        return " (more than 100 further trainings would be needed)"
    return f" (about {counted(max(1, round(further)), 'further training')} would settle it)"


def listed(names: Sequence[str]) -> str:
    """List names in words, or only their number if there are more than four."""
    if len(names) > NAMED:
        return f"{len(names)} others"
    return _joined(names)


def _joined(names: Sequence[str]) -> str:
    """Join names by commas, the last by "and"."""
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
