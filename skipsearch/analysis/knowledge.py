"""Posterior over all designs of a space at the full budget, from the trainings of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from skipsearch.analysis.observations import NO_EFFECT, in_thirds
from skipsearch.analysis.ranking import level
from skipsearch.axes import RECIPE, Value, fields_of, slots, split_name
from skipsearch.cost import cost
from skipsearch.errors import RunError, not_one_of
from skipsearch.fields import spread
from skipsearch.layout import Layout
from skipsearch.metric import Metric, Scale
from skipsearch.record import FAIL, Trial, has_diverged
from skipsearch.space import Candidate, Space
from skipsearch.surrogate.answers import Codes, Flags
from skipsearch.surrogate.belief import Belief
from skipsearch.surrogate.curves import Curves
from skipsearch.surrogate.encoding import Array, Encoding
from skipsearch.surrogate.population import representatives
from skipsearch.surrogate.warp import Warp

DRAWS = 1_000  # from the posterior
ENOUGH = 5  # designs trained in full; with fewer, a smaller budget is used
FEWEST = 2  # designs with a known final value; with fewer, there is nothing to compare
# Trainings with a known final value, for a metric whose noise the number of images does not tell:
# with fewer, the noise cannot be told from differences between designs.
FEWEST_OF_UNKNOWN_NOISE = 8
FULL, STOPPED, FAILED, OPEN = "full", "stopped", "failed", "open"


@dataclass(frozen=True, slots=True)
class Knowledge:
    """Draws of the score of every design of a space, and their basis.

    Attributes:
        metric: Metric of the scores.
        epochs: Budget of the scores.
        axes: Parameters of the space.
        levels: One row for each design; a column for each parameter and for each field that several
            of them set. "-" for one without effect.
        common: Flags (N,) of the designs that represent the space: all designs of a small space. Of
            a larger space only the random designs, not those that the search chose to train.
        trained: Flags (N,) of the designs whose score was observed.
        trainings: One row for each training, with the columns place (of its design) and outcome:
            "full", "stopped" (a noisier observation of the final value), "failed", or "open"
            (stopped or running, without information about the final value).
        values: Draws (S, N) on the scale of the model.
        draws: The same draws (S, N) as scores.
        noise: Variance of the value of one further training.
        costs: Cost (N,) of each design, by name of the cost; NaN if it was not measured.
            Empty if costs were not requested.
    """

    metric: Metric
    epochs: int
    axes: tuple[str, ...]
    levels: pd.DataFrame
    common: Flags
    trained: Flags
    trainings: pd.DataFrame
    values: Array
    draws: Array
    noise: float
    costs: Mapping[str, Array]

    @property
    def fields(self) -> list[str]:
        """Fields that the axes set, none of them a part of another."""
        return fields_of(self.axes)

    def check(self, axis: str) -> None:
        """Raise an error for a name that is neither an axis nor the field of one."""
        allowed = list(dict.fromkeys((*self.axes, *self.fields)))
        if axis not in allowed:
            raise RunError(f"axis: {not_one_of(axis, allowed)}")

    def coded(self, axis: str) -> tuple[Codes, list[Any]]:
        """Return the index of each design's level, -1 for none, and the names of the levels."""
        column = self.levels[axis]
        numbers, names = pd.factorize(column.where(column != NO_EFFECT))
        return numbers.astype(np.intp), list(names)


def least_trainings(metric: Metric) -> str:
    """Return the smallest number of trainings from which ``learn`` fits a model, in words."""
    if metric.is_share_of_images:
        return "finished trainings of two designs"
    return (
        f"{FEWEST_OF_UNKNOWN_NOISE} finished trainings, of two or more designs, to estimate the"
        f" noise of {metric.title}; in a small space, several seeds of each design"
    )


def learn(
    trials: Iterable[Trial],
    space: Space,
    budget: int,
    scale: Scale,
    epochs: int | None = None,
    with_costs: bool = False,
) -> Knowledge | None:
    """Fit the model of the space to trainings.

    A training counts as follows:

    - trained to the budget: its score;
    - stopped before, or running: an observation of its final score, with the noise of the
      regression on finished curves (``surrogate.curves``); nothing if too few curves have finished
      for the regression;
    - diverged: the score of guessing, since its network is no better;
    - failed in another way (memory, a dead worker): nothing, since the design is not the cause.

    Seeds of a design are replicates. All designs of a finite space of up to 4,000 points are used;
    a larger or infinite one is represented by 2,000 random designs, in addition to the trained
    ones.

    Args:
        trials: Records of a run.
        space: Searched space.
        budget: Epochs of a full training.
        scale: Metric and number of validation images.
        epochs: Budget of the scores. None for the full one or, if fewer than five designs
            reached it, for the largest that five (or else all) designs reached.
        with_costs: Whether to compute the costs of each design.

    Returns:
        Posterior; None if fewer than two designs have a score at that budget, or fewer than 8
        trainings for a metric other than the accuracy.
    """
    trials = list(trials)
    epochs = _epochs(trials, budget) if epochs is None else epochs
    pool = _Pool(space, trials)
    guess = scale.guess(space.classes)
    outcomes = pd.DataFrame({"place": pool.places, "outcome": OPEN})
    ends = np.full(len(trials), np.nan)
    for i, trial in enumerate(trials):
        if len(trial.curve) >= epochs:
            ends[i] = trial.curve[epochs - 1].validation_score
            outcomes.loc[i, "outcome"] = FULL
        elif trial.state == FAIL:
            ends[i] = guess if has_diverged(trial.reason) else np.nan
            outcomes.loc[i, "outcome"] = FAILED
    known = ~np.isnan(ends)
    full = outcomes.outcome == FULL
    if outcomes.place[full].nunique() < FEWEST:
        return None
    if not scale.metric.is_share_of_images and full.sum() < FEWEST_OF_UNKNOWN_NOISE:
        return None
    warp = Warp.of(ends[known], scale)
    values, noise = np.zeros(len(trials)), np.full(len(trials), np.inf)
    values[known], noise[known] = warp.values(ends[known]), warp.noise(ends[known])
    going = [i for i, t in enumerate(trials) if t.curve and t.state != FAIL and not full[i]]
    curves = Curves(
        [_curve(t, epochs) for t, is_full in zip(trials, full, strict=True) if is_full],
        scale,
        [_curve(trials[i], epochs) for i in going],
    )
    final = curves.finals(
        [len(trials[i].curve) for i in going],
        [trials[i].curve[-1].validation_score for i in going],
    )
    indicated = np.isfinite(final.variances)
    stopped, scores = np.array(going, dtype=int)[indicated], final.scores[indicated]
    values[stopped] = warp.values(scores)
    noise[stopped] = warp.noise(scores) + final.variances[indicated] / warp.spread**2
    outcomes.loc[stopped, "outcome"] = STOPPED
    told = np.isfinite(noise)
    rng = np.random.default_rng(0)
    rows = pool.rows
    points = rows[outcomes.place[told]]
    belief = Belief.of(
        Encoding.of(space),
        warp,
        points,
        values[told],
        noise[told],
        rng,
        min(guess, ends[known].min()),
    )
    drawn = belief.values(rows, DRAWS, rng)
    trained = np.zeros(len(rows), dtype=bool)
    trained[outcomes.place[told]] = True
    return Knowledge(
        metric=scale.metric,
        epochs=epochs,
        axes=tuple(space.parameters),
        levels=pool.levels(),
        common=pool.common,
        trained=trained,
        trainings=outcomes,
        values=drawn,
        draws=belief.scores(drawn),
        noise=belief.noise,
        costs=pool.costs(trials) if with_costs else {},
    )


def _epochs(trials: Sequence[Trial], budget: int) -> int:
    longest: dict[str, int] = {}
    for trial in trials:
        longest[trial.key] = max(longest.get(trial.key, 0), len(trial.curve))
    lengths = sorted((length for length in longest.values() if length), reverse=True)[:ENOUGH]
    return min(budget, lengths[-1]) if lengths else budget


def _curve(trial: Trial, epochs: int) -> dict[int, float]:
    return {i: epoch.validation_score for i, epoch in enumerate(trial.curve[:epochs], 1)}


class _Pool:
    """The modelled designs: candidates of the space, then further trained designs.

    Attributes:
        places: Index of the design of each training.
        rows: Encoding (N, axes) of the designs.
        common: Flags (N,) of the designs that represent the space.
    """

    def __init__(self, space: Space, trials: Sequence[Trial]) -> None:
        self._space = space
        recipe_axes = [name for name in space.parameters if name.startswith(RECIPE)]

        def key(each: Candidate | Trial) -> tuple[Value, ...]:
            # Recipes of the space lack the data set's conventions, so their ids differ.
            return each.design.id, *(level(each, name) for name in recipe_axes)

        self._members: list[Candidate | Trial] = [*representatives(space)]
        values = [each.values for each in self._members if isinstance(each, Candidate)]
        common = len(self._members)
        place = {key(each): i for i, each in enumerate(self._members)}
        places = []
        for trial in trials:
            name = key(trial)
            if name not in place:
                place[name] = len(self._members)
                self._members.append(trial)
                values.append(_values(space, trial))
            places.append(place[name])
        self.places = np.array(places, dtype=np.intp)
        self.rows = Encoding.of(space).rows(values)
        self.common = np.arange(len(self._members)) < common

    def levels(self) -> pd.DataFrame:
        """Return the level of each axis and field in each design."""
        axes = list(self._space.parameters)
        names = dict.fromkeys((*axes, *fields_of(axes)))
        columns = {
            name: in_thirds(pd.Series([level(each, name) for each in self._members], dtype=object))
            for name in names
        }
        return pd.DataFrame(columns)

    def costs(self, trials: Sequence[Trial]) -> dict[str, Array]:
        """Return the costs of each design, with the measured latency of its last training."""
        space = self._space
        figures = [
            cost(each.design, space.in_channels, space.image_size, space.classes)
            for each in self._members
        ]
        latency = np.full(len(self._members), np.nan)
        for place, trial in zip(self.places, trials, strict=True):
            if trial.latency is not None:
                latency[place] = trial.latency
        names = ("params", "macs", "activation_bytes")
        found = {n: np.array([getattr(f, n) for f in figures], dtype=float) for n in names}
        return found | {"latency": latency}


def _values(space: Space, trial: Trial) -> dict[str, Value]:
    """Return the parameter values from which the design of a training was built."""
    values = {}
    for name in space.parameters:
        found = level(trial, name)
        if found == NO_EFFECT:
            continue
        field, stage, slot = split_name(name)
        if not name.startswith(RECIPE):
            found = getattr(trial.design, field)
            if stage is not None:
                found = spread(found, len(trial.design.depths))[stage]
            if slot:
                found = slots(Layout.parse(str(found)))[slot]
        values[name] = found
    return values
