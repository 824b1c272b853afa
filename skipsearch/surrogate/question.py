"""Questions about how the levels of an axis differ, and which training narrows the answer most.

A question is about contrasts: the mean score over the designs with one level, minus that over the
designs with another. A training of one design is informative about all similar designs. The
posterior before the training determines how much it narrows each contrast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isnan

import numpy as np

from skipsearch.axes import Value, level_name
from skipsearch.metric import Metric
from skipsearch.surrogate.answers import CONFIDENCE, Codes, Verdicts, judge, level_means
from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.sentences import (
    NOT_ENOUGH,
    OVER_SPACE,
    LevelResult,
    comparison,
    needed,
)

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
QUANTILES = (1 - CONFIDENCE, CONFIDENCE)
LEVEL = 2 * CONFIDENCE - 1  # of the intervals in sentences
LEAST_SPREAD = 1e-9  # standard deviation below which a value counts as known


@dataclass(frozen=True, slots=True)
class Question:
    """The question of which level of an axis is best, on average over the designs of a space.

    Attributes:
        axis: Parameter of the space, or field that several of its axes set.
        levels: Levels of the designs.
        codes: Index of each design's level; -1 if the axis has no effect on it.
    """

    axis: str
    levels: tuple[Value, ...]
    codes: Codes

    def means(self) -> Array:
        """Return the weight of each design in the mean of each level: (levels, designs)."""
        members = self.codes == np.arange(len(self.levels))[:, None]
        return np.asarray(members / members.sum(axis=1, keepdims=True))

    def contrasts(self, reference: int | None = None) -> Array:
        """Return the weight of each design in each level's difference: (levels, designs).

        Args:
            reference: Level that the others are compared with; None for the mean of all.
        """
        means = self.means()
        base: Array = means.mean(axis=0) if reference is None else means[reference]
        return means - base


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a question.

    Attributes:
        question: The question.
        verdicts: Verdict on each level.
        differences: Draws of each level's mean minus that of the reference, (draws, levels).
        doubts: Probability that the more probable statement on each level is false; 0 for the
            reference.
    """

    question: Question
    verdicts: Verdicts
    differences: Array
    doubts: Array

    @classmethod
    def of(
        cls, question: Question, draws: Array, margin: float, confidence: float = CONFIDENCE
    ) -> Answer:
        """Answer a question from draws of the score of each design: (draws, designs).

        Args:
            question: Question to answer.
            draws: Draws from the posterior.
            margin: Difference that is too small to matter.
            confidence: Joint probability of all accepted statements.
        """
        levels = level_means(draws, question.codes)
        verdicts = judge(levels, margin, confidence)
        differences = levels - levels[:, [verdicts.reference]]
        worse = (differences < 0).mean(axis=0)
        tied = (np.abs(differences) <= margin).mean(axis=0)
        return cls(question, verdicts, differences, 1 - np.maximum(worse, tied))

    @property
    def settled(self) -> bool:
        """Whether each level is known to be worse than the reference, or tied with it."""
        return self.verdicts.settled

    def sentence(self, metric: Metric, further: float = float("nan")) -> str:
        """Return the verdict on each level on one line, the nearest to the reference first.

        The intervals are those of the differences, at the confidence of the verdicts: for a worse
        level the interval is below 0, and for a tied one within the margin, as in the two one-sided
        tests of Schuirmann 1987, doi:10.1007/BF01068419.

        Args:
            metric: Metric of the scores.
            further: Number of further trainings that would settle an open question; NaN if it is
                settled.
        """
        lows, highs = np.quantile(self.differences, QUANTILES, axis=0)
        means = self.differences.mean(axis=0)
        others = [
            LevelResult(self._name(i), self.verdicts.words[i], means[i], lows[i], highs[i])
            for i in np.argsort(-means, kind="stable")
            if i != self.verdicts.reference
        ]
        best = self._name(self.verdicts.reference)
        text = comparison(best, others, metric)
        level = f"({100 * LEVEL:.0f} % intervals)"
        text = f"{OVER_SPACE}{text} {level}" if text else f"{NOT_ENOUGH}; {best} leads"
        return f"{self.question.axis}: {text}{'' if isnan(further) else needed(further)}."

    def _name(self, i: int) -> str:
        return level_name(self.question.axis, self.question.levels[i])


def slopes(posterior: Posterior, x: Array, scores: Callable[[Array], Array]) -> Array:
    """Return the mean derivative of each design's score with respect to its value in the model.

    The covariance of a score with any jointly normal variable is that of its value times this
    slope, for any map from values to scores (Stein 1981, doi:10.1214/aos/1176345632, lemma 1). The
    mean over the normal distribution is a Gauss-Hermite sum.

    Args:
        posterior: Posterior of the values.
        x: Row for each design.
        scores: Function from values to scores.
    """
    deviation = np.sqrt(np.maximum(posterior.variance(x), LEAST_SPREAD**2))
    at = posterior.mean(x) + deviation * NODES[:, None]
    moments = (WEIGHTS * NODES) @ scores(at) / WEIGHTS.sum()
    return np.asarray(moments / deviation)


def narrowed(posterior: Posterior, x: Array, contrasts: Array, noise: Array) -> tuple[Array, Array]:
    """Return how much one further training of each design narrows contrasts.

    By the formulas of a joint normal distribution, the variance of a contrast d decreases by

        Cov(d, f)^2 / (Var f + noise)

    when a training of a design with value f is observed, whatever its result. See Cohn, Ghahramani
    & Jordan 1996, arXiv:cs/9603104, for choosing observations by this criterion.

    Args:
        posterior: Posterior of the values, with running trainings counted as done.
        x: Row for each design, all different.
        contrasts: Weights of the designs' values in each contrast, (contrasts, designs).
        noise: Variance of a training of each design.

    Returns:
        The decrease of each contrast's variance by each design, (contrasts, designs), and the
        variance of each contrast now.
    """
    shared = posterior.covariance_of(contrasts, x)
    variances = np.einsum("kn,kn->k", shared, contrasts)
    return shared**2 / (posterior.variance(x) + noise), variances


def variance_removed(reductions: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Return how informative each design is about several questions.

    This is the share of each contrast's variance that a training removes, weighted by the doubt
    about the contrast: nothing is gained if a verdict is certain. All questions have equal weight:
    otherwise a question with many levels would leave the axes of the others confounded.

    Args:
        reductions: Result of ``narrowed`` and the doubt about each contrast, for each question.
    """
    total: Array = np.zeros(reductions[0][0].shape[1])
    for decrease, variances, doubts in reductions:
        weights = np.divide(doubts, variances, out=np.zeros_like(doubts), where=variances > 0)
        total += weights @ decrease / len(doubts)
    return total
