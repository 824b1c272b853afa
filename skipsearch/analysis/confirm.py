"""Leaders trained again with new seeds: which is the best, how surely, and what was luck.

The best of many single draws looks better than it is. New seeds, which the search has not chosen
by, tell how much. All values are those after the last epoch of the full budget, without early
stopping. They are still of the validation split that the search chose by: new seeds undo the luck
of the draw, not the fit to that split, for which there is the test split.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import count, takewhile
from statistics import fmean, stdev

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from skipsearch.analysis.ranking import grouped, interval, level
from skipsearch.errors import RunError, counted
from skipsearch.ids import is_meant
from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, PRUNED, Trial
from skipsearch.task import Metric, Scale

SURE = 0.95  # chance of being the best at which a leader is separated
LEAST_ROUNDS = 3  # before a first verdict; two seeds show too little of the noise
DRAWS = 10_000
STEPS = 400  # of the grid for the spread between designs
DIGITS = 12  # of means; further ones depend on the order of addition
NAN = float("nan")


def chance_of_best(scores: ArrayLike, scale: Scale) -> NDArray[np.float64]:
    """Return the chance of each design that its expected score is the highest of all.

    A parametric bootstrap, paired over seeds. A score is taken as the design's expectation,
    plus what the seed does to all designs alike, plus normal noise, as large for all designs. The
    expectations come from a normal distribution, whose deviation, in units of that of the noise, is
    half-Cauchy beforehand (Gelman 2006, doi:10.1214/06-BA117A). The leaders of a search are much
    alike, and this is what keeps a tie a tie.

    Chosen by measurement (``scripts/benchmark_confirm.py``). With few seeds the nonparametric
    bootstrap and the Bayesian one see too little noise, since their draws lie between the values
    seen: of 5 leaders that differ by 0.3 deviations of the noise, and 3 seeds, they gave one a
    chance of 0.95 or more in 14 % of the simulations, and 6 in 10 of these were right. Student's
    tails, or the model without the half-Cauchy, mend this where designs differ, and are still too
    sure where they are alike. This one stayed within 0.1 of the truth on average in all cases. It
    is too careful where the designs differ much, the more so if there are only two.
    Where one design is much noisier than the others, its chance is too high.

    Args:
        scores: (designs, seeds) with at least 2 seeds, the same for all designs.
        scale: Metric and number of validation images. The noise is taken to be no smaller than that
            of rounding to whole images.

    Returns:
        (designs,) with sum 1; equal for designs that are equal.
    """
    seen = np.asarray(scores, dtype=float)
    designs, seeds = seen.shape
    assert seeds >= 2, "one seed shows no noise"
    if designs == 1:
        return np.ones(1)
    means = seen.mean(axis=1) - seen.mean()
    noise = seen - seen.mean(axis=0) - means[:, np.newaxis]
    freedom = (designs - 1) * (seeds - 1)
    within = max(float((noise**2).sum()), freedom * scale.rounding)
    between = seeds * float((means**2).sum())
    ratios = np.tan(np.pi / 2 * (np.arange(STEPS) + 0.5) / STEPS)  # equally likely beforehand
    shares = seeds * ratios**2 / (1 + seeds * ratios**2)  # of the means' variance, not noise
    total = within + between * (1 - shares)
    log_weights = (designs - 1) / 2 * (np.log1p(-shares) - seeds * np.log(total))
    weights = np.exp(log_weights - log_weights.max())
    rng = np.random.default_rng(0)  # the same chances whenever the same records are read
    drawn = rng.choice(STEPS, DRAWS, p=weights / weights.sum())
    share, variance = shares[drawn], total[drawn] / rng.chisquare((designs - 1) * seeds, DRAWS)
    spread = np.sqrt(share * variance / seeds)
    draws = means[:, np.newaxis] * share + spread * rng.standard_normal((designs, DRAWS))
    chances: NDArray[np.float64] = np.bincount(draws.argmax(axis=0), minlength=designs) / DRAWS
    rounded = means.round(DIGITS)
    for value in np.unique(rounded):  # what is equal has one chance, whatever the draws were
        equals = rounded == value
        chances[equals] = chances[equals].mean()
    return chances


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
        return _finals(each for each in self.trainings if each.key == trial.key)

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


def leaders(
    ranking: pd.DataFrame, trials: Iterable[Trial], top: int, keep: Collection[str] = ()
) -> list[list[Trial]]:
    """Return what a search holds for the best: the trainings of each design and recipe.

    Those that reached the full budget stand first in a ranking. Where there are too few of them,
    the best of those that were stopped early follow, and get the chance that they did not have.

    Args:
        ranking: Of the search, as ``rank`` returns it.
        trials: Its records.
        top: How many designs.
        keep: Others to be among them, as ``DESIGN-RECIPE``: leaders of an earlier day.

    Returns:
        The highest-ranked first.
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
    """Judge leaders by what became of them with new seeds.

    A pure function of the records: a confirmation that goes on after an interruption, or with more
    seeds, is judged as one that was never interrupted.

    Args:
        leaders: What ``leaders`` returns, at least one.
        trainings: Records of the trainings with new seeds, those under way among them.
        first_seed: The first of the new seeds; others follow, modulo 2**32.
        seeds: How many there may be.
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
    seen = {key: _finals(trial for trial in counted if trial.key == key) for key in keys}
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
    judged = Confirmation(table, scale.metric, seeds, rounds, (), tuple(firsts), tuple(counted))
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


def _finals(trainings: Iterable[Trial]) -> tuple[float, ...]:
    """Return the scores of those that reached the full budget."""
    complete = (trial for trial in trainings if trial.state == COMPLETE)
    return tuple(trial.curve[-1].validation_score for trial in complete)


def _row(group: Sequence[Trial], scores: Sequence[float], scale: Scale) -> dict[str, object]:
    """Return the figures of a leader."""
    mean = fmean(scores) if scores else NAN
    low, high = interval(scores, scale)
    searched = NAN
    if all(trial.state == COMPLETE for trial in group):
        searched = fmean(_finals(group))
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
    order = pd.DataFrame(
        {
            "failed": table.reason != "",
            "loss": -table[metric.validation].round(DIGITS),
            "params": table.params,
        }
    )
    table = table.loc[order.sort_values([*order], kind="stable").index]
    table.index = pd.RangeIndex(1, len(table) + 1, name="place")
    return table


def _tied(chances: pd.Series) -> list[bool]:
    """Mark the smallest set that holds the best with a chance of ``SURE``, if it has several."""
    falling = chances.sort_values(ascending=False, kind="stable")
    better = falling.cumsum().shift(fill_value=0.0)
    within = better[better < SURE].index if falling.notna().all() else falling.index
    return [len(within) > 1 and place in within for place in chances.index]


def _is_ended(trial: Trial) -> bool:
    return trial.state == COMPLETE or (trial.state == FAIL and trial.reason != INTERRUPTED)


def _luck(shrinkage: float) -> str:
    return f"{shrinkage:.4f} of it was luck" if shrinkage >= 5e-5 else "no luck is to be seen"


def _name(row: object) -> str:
    return str(getattr(row, "design", ""))
