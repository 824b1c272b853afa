"""Which training narrows the answer to a question most: how the levels of an axis differ.

A question is about contrasts: the mean accuracy over the designs with one level, less that over
the designs with another. A training of one design teaches something about all designs like it, and
how much it narrows each contrast follows from the posterior before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from skipsearch.axes import Value, level_name
from skipsearch.surrogate.answers import CONFIDENCE, Codes, Verdicts, judge, level_means
from skipsearch.surrogate.encoding import Array
from skipsearch.surrogate.process import Posterior
from skipsearch.surrogate.sentences import NOT_ENOUGH, OVER_SPACE, Compared, comparison
from skipsearch.task import Metric

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(16)
QUANTILES = (1 - CONFIDENCE, 0.5, CONFIDENCE)
LEAST_SPREAD = 1e-9  # standard deviation of a value that counts as known


@dataclass(frozen=True, slots=True)
class Question:
    """Which level of an axis is the best, on average over the designs of a space.

    Attributes:
        axis: A parameter of the space, or a field that several of its axes set.
        levels: What the designs have there.
        codes: The level of each design, by its place; -1 where the axis has no effect on it.
    """

    axis: str
    levels: tuple[Value, ...]
    codes: Codes

    def means(self) -> Array:
        """Return the share of each design in the mean of each level: (levels, designs)."""
        members = self.codes == np.arange(len(self.levels))[:, None]
        return np.asarray(members / members.sum(axis=1, keepdims=True))

    def contrasts(self, reference: int | None = None) -> Array:
        """Return the share of each design in each level's difference: (levels, designs).

        Args:
            reference: The level that the others are compared with; None for the mean of all.
        """
        means = self.means()
        base: Array = means.mean(axis=0) if reference is None else means[reference]
        return means - base


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known about a question.

    Attributes:
        question: What was asked.
        verdicts: What can be said of each level.
        differences: Draws of each level's mean less that of the reference: (draws, levels).
        doubts: The probability that what is most probable of each level is not so; 0 for the
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
        """Answer a question from draws of the accuracy of each design: (draws, designs).

        Args:
            question: What is asked.
            draws: From the posterior.
            margin: A difference that is too small to matter.
            confidence: The probability with which all that is said is to hold.
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

    def sentence(self, metric: Metric) -> str:
        """Say what is known of each level.

        The intervals are those of the differences, as wide as the verdicts are sure: what is worse
        has one below 0, and what is tied one within the margin, as in the two one-sided tests of
        Schuirmann 1987, doi:10.1007/BF01068419.

        Args:
            metric: Metric of the scores.
        """
        lows, middles, highs = np.quantile(self.differences, QUANTILES, axis=0)
        others = [
            Compared(self._name(i), self.verdicts.words[i], middles[i], lows[i], highs[i])
            for i in np.argsort(-self.differences.mean(axis=0), kind="stable")
            if i != self.verdicts.reference
        ]
        best = self._name(self.verdicts.reference)
        text = comparison(best, others, metric)
        text = f"{OVER_SPACE}{text}" if text else f"{NOT_ENOUGH}; {best} leads"
        return f"{self.question.axis}: {text}."

    def _name(self, i: int) -> str:
        return level_name(self.question.axis, self.question.levels[i])


def slopes(posterior: Posterior, x: Array, accuracies: Callable[[Array], Array]) -> Array:
    """Return the mean slope of each design's accuracy by its value on the scale of the model.

    With it the covariance of an accuracy with any normal value is that of the values times the
    slope, whatever the shape of the curve (Stein 1981, doi:10.1214/aos/1176345632, lemma 1). The
    mean over the normal distribution is a Gauss-Hermite sum.

    Args:
        posterior: Of the values.
        x: A row for each design.
        accuracies: The accuracies that values stand for.
    """
    deviation = np.sqrt(np.maximum(posterior.variance(x), LEAST_SPREAD**2))
    at = posterior.mean(x) + deviation * NODES[:, None]
    moments = (WEIGHTS * NODES) @ accuracies(at) / WEIGHTS.sum()
    return np.asarray(moments / deviation)


def narrowed(posterior: Posterior, x: Array, contrasts: Array, noise: Array) -> tuple[Array, Array]:
    """Return by how much one further training of each design narrows contrasts.

    By the formulas of a joint normal distribution the variance of a contrast d falls by

        Cov(d, f)^2 / (Var f + noise)

    when a training of a design with the value f is seen, whatever it shows. See Cohn, Ghahramani &
    Jordan 1996, arXiv:cs/9603104, for choosing what to observe by that.

    Args:
        posterior: Of the values, with trainings under way counted as done.
        x: A row for each design; no two are equal.
        contrasts: Weights of the designs' values in each: (contrasts, designs).
        noise: Variance of a training of each design.

    Returns:
        The decrease of each contrast's variance by each design, (contrasts, designs), and the
        variance of each contrast now.
    """
    shared = posterior.covariance_of(contrasts, x)
    variances = np.einsum("kn,kn->k", shared, contrasts)
    return shared**2 / (posterior.variance(x) + noise), variances


def most_informative(reductions: Sequence[tuple[Array, Array, Array]]) -> Array:
    """Return how much each design tells about several questions.

    What counts is the share of each contrast's variance that a training takes away, times the
    doubt that there is about it: nothing is gained where a verdict is certain.

    Args:
        reductions: Of each question what ``narrowed`` returns, and the doubt about each contrast.
    """
    total: Array = np.zeros(reductions[0][0].shape[1])
    for decrease, variances, doubts in reductions:
        weights = np.divide(doubts, variances, out=np.zeros_like(doubts), where=variances > 0)
        total += weights @ decrease
    return total
