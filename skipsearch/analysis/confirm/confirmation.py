"""Result of training the leaders again: a table, a verdict, and both in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skipsearch.errors import RunError, counted
from skipsearch.metric import Metric
from skipsearch.record import COMPLETE, Trial

SURE = 0.95  # probability of being the best that separates a leader
LEAST_BIAS = 5e-5  # share of an error below which no luck is visible
LEAST_ROUNDS = 3  # before a first verdict; two seeds show too little of the noise


@dataclass(frozen=True, eq=False, repr=False)
class Confirmation:
    """Result of training the leaders of a search again.

    A round is one new seed, the same for every leader; all statements are about the completed
    rounds. A leader that fails with one of the seeds is excluded: the mean of the remaining seeds
    would be too high. No leader is dropped for a low score: all have the same number of seeds.

    The winner is the best of several means, and rounds end when it is ahead. Therefore its mean is
    still too high, by 0.1 to 0.6 standard deviations for 5 seeds and 5 leaders (more for similar
    leaders), and its interval covers the truth in about 92 % of the cases. The search's leader was
    chosen before: its interval, and that of the shrinkage, covered it in 91 to 97 %.

    Attributes:
        table: One row for each leader, the best first, indexed by place from 1, with columns

            design               id of the design
            recipe               id of the recipe
            trial                number of its first trial in the search
            n                    number of new seeds
            validation_accuracy  mean over them; the column is named after the task's metric
            sd                   their standard deviation; NaN for n < 2
            low, high            95 % interval of the mean (Student), see ``interval``
            chance               probability that it is the best leader; 0 if it failed, NaN before
                                 two rounds
            tied                 whether it may be the best: it is in the smallest set that includes
                                 the best with a probability of 0.95
            search_accuracy      accuracy in the search; NaN below the full budget
            shrinkage            search_accuracy minus validation_accuracy: the effect of luck. For
                                 an error the other way round, so that luck is above 0
            shrinkage_low, shrinkage_high
                                 its 95 % interval, from that of the mean alone, since the
                                 search's value is an observed number
            params               number of parameters of the network
            ...                  the axes
            reason               reason of its failure; empty if it has not failed

        metric: Metric of the scores.
        repeat: Word for what is new in each round: ``seed``, or ``fold`` if the seeds also choose
            the fold for validation.
        seeds: Requested number of new seeds.
        rounds: Number of completed rounds.
        wanted: Remaining trainings of the next round: a record of the leader in the search, and a
            seed. Empty if a leader is separated or all seeds are used.
        leaders: First record of each leader in the search, the search's leader first.
        trainings: Records with new seeds from the completed rounds.
    """

    table: pd.DataFrame
    metric: Metric
    repeat: str
    seeds: int
    rounds: int
    wanted: tuple[tuple[Trial, int], ...]
    leaders: tuple[Trial, ...]
    trainings: tuple[Trial, ...]

    @property
    def judged(self) -> bool:
        """Whether there were enough rounds to name a winner."""
        return self.rounds >= min(LEAST_ROUNDS, self.seeds)

    @property
    def best(self) -> Trial:
        """Record in the search of the leader with the highest mean.

        Raises:
            RunError: If there were too few rounds, or all leaders failed.
        """
        if not self.judged:
            reasons = [reason for reason in self.table.reason if reason]
            if len(reasons) == len(self.table):
                raise RunError(f"every leader failed when it was trained again: {reasons[0]}")
            raise RunError(f"the leaders have been trained again in {self.rounds} rounds only")
        number = self.table.trial.iloc[0]
        return next(leader for leader in self.leaders if leader.number == number)

    @property
    def separated(self) -> bool:
        """Whether one leader is the best with a probability of 0.95."""
        several = len(self.table) > 1
        return several and self.judged and bool(self.table.chance.iloc[0] >= SURE)

    @property
    def shrinkage(self) -> float:
        """Effect of luck on the value of the search's leader; NaN before the first round."""
        return float(self._of_searched.shrinkage)

    @property
    def shrinkage_interval(self) -> tuple[float, float]:
        """95 % interval of ``shrinkage``; with one seed it ignores the luck of that seed."""
        row = self._of_searched
        return float(row.shrinkage_low), float(row.shrinkage_high)

    def scores(self, trial: Trial) -> tuple[float, ...]:
        """Return the scores of a leader with new seeds; empty for other designs.

        Args:
            trial: Any record of its design and recipe.
        """
        return finals(each for each in self.trainings if each.key == trial.key)

    def row(self, trial: Trial) -> pd.Series:
        """Return the row of the table for a leader.

        Args:
            trial: Any record of its design and recipe.
        """
        here = (self.table.design == trial.design.id) & (self.table.recipe == trial.recipe.id)
        return self.table[here].iloc[0]

    @property
    def _of_searched(self) -> pd.Series:
        return self.row(self.leaders[0])

    @property
    def _bias(self) -> str:
        number = self.metric.number(self.shrinkage)
        shown = self.metric.with_unit(number)
        if self.metric.is_error:
            least = LEAST_BIAS * abs(float(self._of_searched[self.metric.search]))
            visible = self.shrinkage > least
            return f"too low by an estimated {shown}" if visible else "not too low"
        return f"too high by an estimated {shown}" if float(number) > 0 else "not too high"

    def __str__(self) -> str:
        """Return the result in words."""
        return "\n".join(self._sentences())

    def __repr__(self) -> str:
        """Return the words and the table."""
        return f"{self}\n\n{self.table.drop(columns='reason').to_string()}"

    def _repr_html_(self) -> str:
        """Return the words and the table for a notebook."""
        words = "".join(f"<p>{sentence}</p>" for sentence in self._sentences())
        return words + self.table.to_html(notebook=True)

    def _sentences(self) -> list[str]:
        table, searched = self.table, self._of_searched
        if not self.judged:
            left = f", {counted(len(self.wanted), 'training')} of the next round to be done"
            return [f"Not judged yet: {counted(self.rounds, 'round')} done{left}."]
        best = table.iloc[0]
        sure = (
            f"the best of {counted(len(table), 'leader')} with a probability of {best.chance:.2f}"
        )
        seeds = counted(self.rounds, f"new {self.repeat}")
        if self.separated:
            sentences = [f"Separated: {_name(best)} is {sure}, after {seeds} each."]
        elif len(table) == 1:
            sentences = [f"{_name(best)} alone was trained again, with {seeds}."]
        else:
            tied = ", ".join(map(_name, table[table.tied].itertuples()))
            sentences = [
                f"Not separated: after {seeds} each, these are statistically indistinguishable:"
                f" {tied}. {_name(best)} is {sure}."
            ]
        metric = self.metric
        text = metric.text
        sentences.append(
            f"Its validation {metric.title} at the full budget is {text(best[metric.validation])}"
            f" (mean of {counted(int(best.n), self.repeat)}, standard deviation {text(best.sd)},"
            f" 95 % interval {metric.span((best.low, best.high))})."
        )
        if not np.isnan(self.shrinkage):
            low, high = map(metric.number, self.shrinkage_interval)
            sentences.append(
                f"The search's leader, {_name(searched)}, had {text(searched[metric.search])}"
                f" there and has {text(searched[metric.validation])} here:"
                f" {self._bias} (95 % interval of the difference {low} to {high})."
            )
        failed = table[table.reason != ""]
        sentences += [f"{_name(row)} is out: {row.reason}." for row in failed.itertuples()]
        if self.wanted:
            sentences.append(
                f"{counted(len(self.wanted), 'training')} of the next round to be done."
            )
        return sentences


def finals(trainings: Iterable[Trial]) -> tuple[float, ...]:
    """Return the scores of the trainings that reached the full budget."""
    complete = (trial for trial in trainings if trial.state == COMPLETE)
    return tuple(trial.curve[-1].validation_score for trial in complete)


def _name(row: object) -> str:
    return str(getattr(row, "design", ""))
