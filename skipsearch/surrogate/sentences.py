"""What is known about the levels of an axis, in one sentence; the same wherever it is said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from skipsearch.surrogate.answers import TIED, WORSE
from skipsearch.task import Metric

NAMED = 4  # levels that a sentence names; of more it says how many
OVER_SPACE = "On average over the space, "
NOT_ENOUGH = "Not enough data to tell"


class LevelResult(NamedTuple):
    """A level, compared with the best one.

    Attributes:
        name: What it is called.
        verdict: ``worse``, ``tied``, or any other word where it is open.
        difference: Score less that of the best level.
        low: Lower end of its interval.
        high: Upper end.
        how: What the scores were paired by; empty for nothing.
    """

    name: str
    verdict: str
    difference: float
    low: float
    high: float
    how: str = ""


def comparison(best: str, others: Sequence[LevelResult], metric: Metric) -> str:
    """Say which levels are worse than the best one, and which are tied with it.

    Args:
        best: Name of the best level.
        others: The others.
        metric: Metric of the scores.

    Returns:
        The sentence, without an end; empty where all is open.
    """
    worse = [level for level in others if level.verdict == WORSE]
    tied = [level for level in others if level.verdict == TIED]
    is_open = [level for level in others if level.verdict not in (WORSE, TIED)]
    if not worse and not tied:
        return ""
    parts, unit = [], metric.difference_unit
    if worse:
        nearest, *rest = sorted(worse, key=lambda level: -level.difference)
        lead, low, high = (
            metric.difference(-value) for value in (nearest.difference, nearest.high, nearest.low)
        )
        how = f"; {nearest.how}" if nearest.how else ""
        more = f" and {listed([level.name for level in rest])} by more" if rest else ""
        parts.append(f"{best} beats {nearest.name} by {lead} {unit} ({low} to {high}{how}){more}")
    if tied:
        spans = [
            f"{metric.difference(level.low, '+')} to {metric.difference(level.high, '+')}"
            for level in tied[:NAMED]
        ]
        names = listed([level.name for level in tied])
        start = "it" if worse else best
        parts.append(f"{start} is tied with {names} ({', '.join(spans)} {unit})")
    if is_open:
        parts.append(f"{listed([level.name for level in is_open])} cannot be told from it yet")
    return "; ".join(parts)


def listed(names: Sequence[str]) -> str:
    """List a few names in words; of more than four say how many there are."""
    if len(names) > NAMED:
        return f"{len(names)} others"
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last
