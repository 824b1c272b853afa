"""What came of leaders that were trained again: a table, a verdict, and both in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from skipsearch.errors import RunError, counted
from skipsearch.record import COMPLETE, Trial
from skipsearch.task import Metric

SURE = 0.95  # chance of being the best at which a leader is separated
LEAST_ROUNDS = 3  # before a first verdict; two seeds show too little of the noise


@dataclass(frozen=True, eq=False, repr=False)
class Confirmation:
    """What became of the leaders of a search when they were trained again.

    A round is one new seed, the same for every leader; what is said here is said of the rounds that
    are finished. A leader that fails with one of the seeds is out: the mean of what did not fail
    would flatter it. No leader is dropped for being behind: all have the same number of seeds.

    The winner is the best of several means, and a race ends when it looks good: its mean is still
    too high, by 0.1 to 0.6 standard deviations at 5 seeds and 5 leaders (the more, the more they
    are alike), and its interval covers in about 92 % of the cases. The search's leader was chosen
    before: its interval, and so that of the shrinkage, covered in 91 to 97 %.

    Attributes:
        table: One row a leader, the best first, indexed by place from 1, with columns

            design               id of the design
            recipe               id of the recipe
            trial                number of its first trial in the search
            n                    new seeds
            validation_accuracy  mean over them, under the name of the task's metric
            sd                   their standard deviation; NaN for n < 2
            low, high            95 % interval of the mean (Student), see ``interval``
            chance               that it is the best of the leaders; 0 where it failed, NaN before
                                 two rounds
            tied                 whether the seeds do not tell it apart from the best: it is in the
                                 smallest set that holds the best with a chance of 0.95
            search_accuracy      what the search ranked it by; NaN below the full budget
            shrinkage            search_accuracy less validation_accuracy: what was luck
            shrinkage_low, shrinkage_high
                                 95 % interval of it; that of the mean turned round, since the
                                 search's value is a number that was seen
            params               of the network
            ...                  the axes
            reason               why it failed

        metric: Metric of the scores.
        seeds: New seeds asked for.
        rounds: Rounds that are finished.
        wanted: What the next round still has to train: a record of the leader in the search, and a
            seed. Empty where the answer is there: a leader is separated, or the seeds are used up.
        leaders: The first record of each in the search, the search's leader first.
        trainings: The records with new seeds, of the rounds that are finished.
    """

    table: pd.DataFrame
    metric: Metric
    seeds: int
    rounds: int
    wanted: tuple[tuple[Trial, int], ...]
    leaders: tuple[Trial, ...]
    trainings: tuple[Trial, ...]

    @property
    def judged(self) -> bool:
        """Whether there were rounds enough to name a winner."""
        return self.rounds >= min(LEAST_ROUNDS, self.seeds)

    @property
    def best(self) -> Trial:
        """The record in the search of the leader with the highest mean.

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
        """Whether the best is told apart from the other leaders, with a chance of 0.95."""
        several = len(self.table) > 1
        return several and self.judged and bool(self.table.chance.iloc[0] >= SURE)

    @property
    def shrinkage(self) -> float:
        """How much of the value of the search's leader was luck; NaN before the first round."""
        return float(self._of_searched.shrinkage)

    @property
    def shrinkage_interval(self) -> tuple[float, float]:
        """95 % interval of ``shrinkage``; with one seed it leaves out the luck of that seed."""
        row = self._of_searched
        return float(row.shrinkage_low), float(row.shrinkage_high)

    def scores(self, trial: Trial) -> tuple[float, ...]:
        """Return the scores with new seeds of a design and recipe; empty for no leader.

        Args:
            trial: Any record of it.
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

    def __str__(self) -> str:
        """Say in words what came out."""
        return "\n".join(self._sentences())

    def __repr__(self) -> str:
        """Show the words and the table."""
        return f"{self}\n\n{self.table.drop(columns='reason').to_string()}"

    def _repr_html_(self) -> str:
        """Show the words and the table in a notebook."""
        words = "".join(f"<p>{sentence}</p>" for sentence in self._sentences())
        return words + self.table.to_html(notebook=True)

    def _sentences(self) -> list[str]:
        table, searched = self.table, self._of_searched
        if not self.judged:
            left = f", {counted(len(self.wanted), 'training')} of the next round to be done"
            return [f"Not judged yet: {counted(self.rounds, 'round')} done{left}."]
        best = table.iloc[0]
        sure = f"the best of {counted(len(table), 'leader')} with a chance of {best.chance:.2f}"
        seeds = counted(self.rounds, "new seed")
        if self.separated:
            sentences = [f"Separated: {_name(best)} is {sure}, after {seeds} each."]
        elif len(table) == 1:
            sentences = [f"{_name(best)} alone was trained again, with {seeds}."]
        else:
            tied = ", ".join(map(_name, table[table.tied].itertuples()))
            sentences = [
                f"Not separated: {_name(best)} is {sure}, after {seeds} each;"
                f" these cannot be told apart: {tied}."
            ]
        score = f"{best[self.metric.validation]:.4f}"
        sentences.append(
            f"Its validation {self.metric.title} at the full budget is {score} (mean of {best.n}"
            f" seeds, standard deviation {best.sd:.4f}, 95 % interval {best.low:.4f} to"
            f" {best.high:.4f})."
        )
        if not np.isnan(self.shrinkage):
            low, high = self.shrinkage_interval
            sentences.append(
                f"The search's leader, {_name(searched)}, had {searched[self.metric.search]:.4f}"
                f" there and has {searched[self.metric.validation]:.4f} here:"
                f" {_luck(self.shrinkage)} (95 % interval of the difference {low:.4f} to"
                f" {high:.4f})."
            )
        failed = table[table.reason != ""]
        sentences += [f"{_name(row)} is out: {row.reason}." for row in failed.itertuples()]
        if self.wanted:
            sentences.append(
                f"{counted(len(self.wanted), 'training')} of the next round to be done."
            )
        return sentences


def finals(trainings: Iterable[Trial]) -> tuple[float, ...]:
    """Return the scores of those that reached the full budget."""
    complete = (trial for trial in trainings if trial.state == COMPLETE)
    return tuple(trial.curve[-1].validation_score for trial in complete)


def _luck(shrinkage: float) -> str:
    return f"{shrinkage:.4f} of it was luck" if shrinkage >= 5e-5 else "no luck is to be seen"


def _name(row: object) -> str:
    return str(getattr(row, "design", ""))
