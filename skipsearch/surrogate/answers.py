"""Questions about a space, answered from draws of a posterior.

Everything here works on a matrix of draws: each row is one space that the data allow, each column
one of its designs, each number an accuracy at the full budget. What is asked of the space is
computed in every row; the spread over the rows is what the data leave open.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

CONFIDENCE = 0.95
BEST, TIED, WORSE, OPEN = "best", "tied", "worse", "open"


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What can be said about the levels of an axis, all statements together.

    Attributes:
        reference: The level that the others are compared with.
        words: Of each level: ``worse`` or ``tied`` (with the reference) or ``open``; the reference
            is ``best`` where all others are worse, ``tied`` where a level is tied with it and none
            is open, else ``open``.
        confidence: The probability that all statements that are not ``open`` are true.
    """

    reference: int
    words: tuple[str, ...]
    confidence: float

    @property
    def settled(self) -> bool:
        """Whether no level is open."""
        return OPEN not in self.words


def level_means(draws: Array, codes: Codes) -> Array:
    """Return the mean of each level over the designs that have it.

    Args:
        draws: (S, N)
        codes: (N,) the level of each design, from 0; -1 where the axis has no effect. Each level
            up to the highest code has a design.

    Returns:
        (S, L)
    """
    members = _members(codes)
    means: Array = draws @ (members / members.sum(axis=0))
    return means


def judge(levels: Array, margin: float, confidence: float = CONFIDENCE) -> Verdicts:
    """Say which levels are worse than the best one, and which are tied with it.

    The reference is the level that is the highest in most draws. The statement made about another
    level is the more probable of "worse than the reference" and "within the margin of it".
    Statements are accepted from the most probable on, as long as all that are accepted hold
    together with the confidence asked for.

    Args:
        levels: (S, L) draws of the levels' values.
        margin: A difference that is too small to matter.
        confidence: As said.
    """
    count = levels.shape[1]
    reference = _reference(levels)
    differences = levels - levels[:, [reference]]
    worse, tied = differences < 0, np.abs(differences) <= margin
    is_worse = worse.mean(axis=0) >= tied.mean(axis=0)
    holds = np.where(is_worse, worse, tied)
    together = np.ones(len(levels), dtype=bool)
    words = [OPEN] * count
    for i in np.argsort(-holds.mean(axis=0), kind="stable"):
        if i == reference:
            continue
        now = together & holds[:, i]
        if now.mean() < confidence:
            break
        together, words[i] = now, WORSE if is_worse[i] else TIED
    others = {words[i] for i in range(count) if i != reference}
    if OPEN not in others:
        words[reference] = TIED if TIED in others else BEST
    return Verdicts(reference, tuple(words), float(together.mean()))


def _reference(levels: Array) -> int:
    firsts = np.bincount(levels.argmax(axis=1), minlength=levels.shape[1])
    ahead = np.flatnonzero(firsts == firsts.max())
    return int(ahead[levels[:, ahead].mean(axis=0).argmax()])


def _members(codes: Codes) -> Array:
    """Return (N, L) which design has which level."""
    members = np.zeros((len(codes), codes.max(initial=-1) + 1))
    active = np.flatnonzero(codes >= 0)
    members[active, codes[active]] = 1
    return members
