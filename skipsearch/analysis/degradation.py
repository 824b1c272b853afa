"""Does deeper degrade? Training and validation error against depth, all else being equal."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean, median, stdev, variance
from typing import NamedTuple, Self

import pandas as pd
from scipy.stats import t

from skipsearch.analysis.ranking import level
from skipsearch.cost import layers
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.intervals import rounding
from skipsearch.record import FAIL, PRUNED, Trial

FALSE_VERDICTS = 0.05  # of the groups in which nothing depends on depth, at most
LEAST_SEEDS = 2  # of a depth, to be compared with others

# What the answer can be. The first and the second are told apart as He et al. 2015
# (arXiv:1512.03385, section 1) do: "such degradation is not caused by overfitting".
DEGRADES = "degrades"
OVERFITS = "overfits"
GAINS = "gains"
TIED = "tied"
UNKNOWN = "not enough data"
CLAIMS = {
    DEGRADES: "degrades as it gets deeper, for its training error rises",
    OVERFITS: "overfits as it gets deeper, for its validation error alone rises",
    GAINS: "gains from depth",
}

MEASURES: Mapping[str, Callable[[Trial, int], float]] = {
    "train_error": lambda trial, epoch: 1 - trial.curve[epoch - 1].train_accuracy,
    "train_loss": lambda trial, epoch: trial.curve[epoch - 1].train_loss,
    "validation_error": lambda trial, epoch: 1 - trial.curve[epoch - 1].validation_accuracy,
}
STATISTICS = ("", "_sd", "_low", "_high")


@dataclass(frozen=True, slots=True)
class Degradation:
    """What becomes of designs as they get deeper.

    Attributes:
        table: One row a group and depth.
        verdicts: One row a group.
        words: The answer in sentences, the plain groups first.
        claims: The same without figures, of the groups whose depths differ.
    """

    table: pd.DataFrame
    verdicts: pd.DataFrame
    words: tuple[str, ...]
    claims: tuple[str, ...]


@dataclass(frozen=True)
class _Depth:
    """The trainings of one group at one depth."""

    design: Design
    trials: Sequence[Trial]
    epoch: int  # at which they are compared
    images: Mapping[str, int]  # that an error was seen on, by its name

    @cached_property
    def layers(self) -> int:
        return layers(self.design)

    @property
    def compared(self) -> list[Trial]:
        return [trial for trial in self.trials if len(trial.curve) >= self.epoch]

    @property
    def is_judged(self) -> bool:
        return len(self.compared) >= LEAST_SEEDS

    def count(self, state: str) -> int:
        """Count the trainings that ended in a state before the epoch."""
        return sum(trial.state == state and len(trial.curve) < self.epoch for trial in self.trials)

    def values(self, measure: str) -> list[float]:
        return [MEASURES[measure](trial, self.epoch) for trial in self.compared]

    def sample(self, measure: str) -> _Sample:
        """Summarise what the seeds have."""
        images = self.images.get(measure)
        return _Sample.of(self.values(measure), rounding(images) if images else 0.0)

    def scores(self, error: str) -> _Sample:
        """Summarise errors on the scale on which they are tested: empirical logits.

        Deviations of small errors are small, and those of large ones large; on this scale they
        are alike. Cox & Snell 1989, Analysis of Binary Data, section 2.1.6: log((k + 1/2) /
        (n - k + 1/2)) of k wrong images among n.
        """
        n = self.images[error]
        shares = [(x * n + 0.5) / (n + 1) for x in self.values(error)]
        slope = 1 / (fmean(shares) * (1 - fmean(shares)))  # of the logit, where they are
        return _Sample.of([math.log(x / (1 - x)) for x in shares], rounding(n) * slope**2)

    def mean(self, measure: str) -> float:
        return fmean(self.values(measure))

    def lowest_loss(self, trial: Trial) -> float:
        return min(epoch.train_loss for epoch in trial.curve[: self.epoch])

    def epochs_to(self, loss: float) -> list[float]:
        """Return the first epoch of each training at which it has a loss; infinity for never."""
        curves = (trial.curve[: self.epoch] for trial in self.compared)
        return [
            next((e.epoch for e in curve if e.train_loss <= loss), math.inf) for curve in curves
        ]


class _Sample(NamedTuple):
    """Numbers that seeds have: how many, their mean, and the variance of this mean."""

    n: int
    mean: float
    error: float

    @classmethod
    def of(cls, values: Sequence[float], least: float) -> Self:
        """Summarise two or more numbers, whose variance is known to be ``least`` or more."""
        return cls(len(values), fmean(values), max(variance(values), least) / len(values))


_Group = list[_Depth]  # from shallow to deep


def degradation(
    trials: Iterable[Trial],
    train_images: int,
    validation_images: int,
    *,
    epochs: int | None = None,
    loss: float | None = None,
    axes: Sequence[str] = ("layout", "shortcut", "merge"),
) -> Degradation:
    """Follow training and validation error over depth, in groups that differ in depth alone.

    A group is a design but for its ``depths``, with one recipe. All trainings are compared after
    the same number of epochs. Those that did not get so far are counted and not looked at: where
    early stopping ended them, the ones that are left are its survivors, and a depth looks better
    than it is. A sound answer is trained with the scheduler ``none``, or is taken at the first
    rung. Training error is that of the epoch's steps, in training mode and with augmentation:
    dropout and stochastic depth raise it.

    The verdict of a group compares its deepest networks, of those with two seeds or more, with the
    shallower ones. A difference counts where Welch's test of the errors' logits says so (1947,
    doi:10.2307/2332510), all tests of a group corrected by Holm's method (1979) at 5 % in all. It
    says nothing of how large a difference is: read the rise beside it. Seeds that agree to the last
    image are taken to differ by their rounding.

    ``degrades``
        The training error of the deepest is above that of a shallower one (He et al. 2015,
        arXiv:1512.03385, Fig. 1 and 6), and it has not gained.
    ``overfits``
        Its validation error is above that of a shallower one, its training error is not.
    ``gains``
        Its validation error is below that of the shallowest, and not above any.
    ``tied``
        No difference counts: the seeds do not tell the depths apart.
    ``not enough data``
        There are not two depths with two seeds each, or validation error rises and it is open
        whether training error does.

    Args:
        trials: Records of a run.
        train_images: Size of the training split.
        validation_images: Size of the validation split.
        epochs: After which they are compared; the full budget if None.
        loss: The training loss to which epochs are counted; if None that which the slowest of the
            trainings at a depth has reached.
        axes: Fields of the design, or ``recipe.NAME``, to show as columns.

    Returns:
        ``table``, one row a group and depth, with columns

        group             number of the group, plain ones first
        recipe            id of the recipe
        ...               the axes; "-" where one has no effect on the design
        depths            blocks in each stage
        layers            as the literature counts them, see ``cost.layers``
        design            id of the design
        epochs            after which trainings are compared
        n                 seeds compared
        stopped, failed   trainings that ended before
        train_error, train_loss, validation_error
                          mean over seeds, and behind each its ``_sd`` (deviation), ``_low`` and
                          ``_high`` (95 % interval of the mean, Student); NaN where n is too small
        loss              the training loss that ...
        epochs_to_loss    ... the median seed has after so many epochs; infinity for never

        ``verdicts``, one row a group, with columns group, recipe, the axes, and

        verdict           one of the above
        n                 the least number of seeds at a depth that is compared
        shallowest, deepest
                          layers of what is compared
        train_best        layers with the lowest training error among the shallower ones
        train_least       that error
        train_rise        training error of the deepest less that, and ``_low``, ``_high``
                          (95 % interval, Welch, of these two alone)
        validation_best, validation_rise, ...
                          the same of the validation error
        best              layers with the lowest validation error
        enough            the fewest layers whose validation error is not above that of the best,
                          by Welch's test, Holm's correction over all pairs: from ``enough`` to
                          ``best`` lies the depth at which going deeper stops helping
    """
    trials = list(trials)
    images = {"train_error": train_images, "validation_error": validation_images}
    groups = _groups(trials, epochs, images)
    losses = _common_losses(groups, loss)
    names = [_described(group, axes) for group in groups]
    rows = [
        {"group": number, **name, **_row(depth, losses[depth.design.depths])}
        for number, (group, name) in enumerate(zip(groups, names, strict=True), 1)
        for depth in group
    ]
    verdicts = [
        {"group": number, **name, **_verdict(group)}
        for number, (group, name) in enumerate(zip(groups, names, strict=True), 1)
    ]
    head = ["group", "recipe", *axes]
    table = pd.DataFrame(rows, columns=[*head, *_ROW])
    judged = pd.DataFrame(verdicts, columns=[*head, *_VERDICT])
    # What tells a group from the others, by which it is named.
    shown = [axis for axis in axes if len({*judged[axis]} - {"-"}) > 1]
    words, claims = _words(table, judged, shown), _claims(judged, shown)
    return Degradation(table, judged, tuple(words), tuple(claims))


# --- groups --------------------------------------------------------------------------------------


def _groups(trials: Sequence[Trial], epochs: int | None, images: Mapping[str, int]) -> list[_Group]:
    """Put trainings together that differ in depth alone, or in the seed.

    A network may stand in several groups: where each stage has a single block, a projection in
    all shortcuts is one wherever shapes change.
    """
    trained: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        trained.setdefault((trial.design.id, trial.recipe.id), []).append(trial)
    seen: dict[str, set[tuple[int, ...]]] = {}  # depths, by recipe
    for trial in trials:
        seen.setdefault(trial.recipe.id, set()).add(trial.design.depths)
    alike: dict[tuple[str, str], Trial] = {}
    for (_, recipe), (first, *_) in trained.items():
        same = _of_stages(seen[recipe], first.design)
        deepest = tuple(map(max, zip(*same, strict=True)))
        design = first.design if len(same) == 1 else _at(first.design, deepest) or first.design
        alike.setdefault((design.id, recipe), first)
    groups = []
    for (_, recipe), first in alike.items():
        designs = (_at(first.design, depths) for depths in _of_stages(seen[recipe], first.design))
        group = [
            _Depth(design, trained[key], epochs or first.recipe.epochs, images)
            for design in designs
            if design is not None and (key := (design.id, recipe)) in trained
        ]
        groups.append(sorted(group, key=lambda depth: depth.layers))
    return sorted(groups, key=lambda group: group[-1].design.has_effect("merge"))


def _of_stages(depths: Iterable[tuple[int, ...]], design: Design) -> list[tuple[int, ...]]:
    """Return the depths that have as many stages as a design."""
    return sorted(each for each in depths if len(each) == len(design.depths))


def _at(design: Design, depths: tuple[int, ...]) -> Design | None:
    """Return a design at another depth; None where it cannot be built there."""
    if depths == design.depths:
        return design
    with contextlib.suppress(DesignError):
        return design.replace(depths=depths)
    return None


def _described(group: _Group, axes: Sequence[str]) -> dict[str, object]:
    trial = dataclasses.replace(group[-1].trials[0], design=group[-1].design)
    return {"recipe": trial.recipe.id} | {axis: level(trial, axis) for axis in axes}


# --- one depth -----------------------------------------------------------------------------------

_ROW = (
    *("depths", "layers", "design", "epochs", "n", "stopped", "failed"),
    *(f"{measure}{statistic}" for measure in MEASURES for statistic in STATISTICS),
    *("loss", "epochs_to_loss"),
)


def _row(depth: _Depth, loss: float) -> dict[str, object]:
    reached = depth.epochs_to(loss)
    row: dict[str, object] = {
        "depths": str(list(depth.design.depths)),
        "layers": depth.layers,
        "design": depth.design.id,
        "epochs": depth.epoch,
        "n": len(depth.compared),
        "stopped": depth.count(PRUNED),
        "failed": depth.count(FAIL),
        "loss": loss,
        "epochs_to_loss": median(reached) if reached else math.nan,
    }
    for measure in MEASURES:
        most = 1.0 if measure.endswith("_error") else math.inf
        numbers = _statistics(depth, measure, most)
        row |= {f"{measure}{s}": x for s, x in zip(STATISTICS, numbers, strict=True)}
    return row


def _statistics(depth: _Depth, measure: str, most: float) -> tuple[float, float, float, float]:
    """Return mean, deviation, and the 95 % interval of a mean that is from 0 to ``most``."""
    values = depth.values(measure)
    if len(values) < LEAST_SEEDS:
        return values[0] if values else math.nan, math.nan, math.nan, math.nan
    sample = depth.sample(measure)
    half = float(t.ppf(0.975, sample.n - 1)) * math.sqrt(sample.error)
    return sample.mean, stdev(values), max(0.0, sample.mean - half), min(most, sample.mean + half)


def _common_losses(groups: Sequence[_Group], loss: float | None) -> dict[tuple[int, ...], float]:
    """Return the training loss that all who are compared reach, for each depth."""
    lowest: dict[tuple[int, ...], list[float]] = {}
    for depth in (depth for group in groups for depth in group):
        reached = lowest.setdefault(depth.design.depths, [])
        reached += [depth.lowest_loss(trial) for trial in depth.compared]
    return {
        depths: max(reached, default=math.nan) if loss is None else loss
        for depths, reached in lowest.items()
    }


# --- the verdict ---------------------------------------------------------------------------------

_VERDICT = (
    *("verdict", "n", "shallowest", "deepest"),
    *("train_best", "train_least", "train_rise", "train_rise_low", "train_rise_high"),
    *(
        "validation_best",
        "validation_least",
        "validation_rise",
        "validation_rise_low",
        "validation_rise_high",
    ),
    *("best", "enough"),
)


def _verdict(group: _Group) -> dict[str, object]:
    judged = [depth for depth in group if depth.is_judged]
    shallower = [depth for depth in judged if depth.layers < judged[-1].layers]
    if not shallower:
        seeds = min((len(depth.compared) for depth in group), default=0)
        return {"verdict": UNKNOWN, "n": seeds}
    deepest = judged[-1]
    row: dict[str, object] = {
        "verdict": _judge(shallower, deepest),
        "n": min(len(depth.compared) for depth in judged),
        "shallowest": shallower[0].layers,
        "deepest": deepest.layers,
        "best": min(judged, key=lambda depth: depth.mean("validation_error")).layers,
        "enough": _enough(judged),
    }
    for name, measure in (("train", "train_error"), ("validation", "validation_error")):
        best = min(shallower, key=lambda depth: depth.mean(measure))
        row |= {f"{name}_best": best.layers, f"{name}_least": best.mean(measure)}
        rise, low, high = _difference(best.sample(measure), deepest.sample(measure))
        row |= {f"{name}_rise": rise, f"{name}_rise_low": low, f"{name}_rise_high": high}
    return row


def _judge(shallower: Sequence[_Depth], deepest: _Depth) -> str:
    claims = [
        (measure, depth, deepest)
        for measure in ("train_error", "validation_error")
        for depth in shallower
    ]
    claims.append(("validation_error", deepest, shallower[0]))
    *rises, falls = _hold([(low.scores(m), high.scores(m)) for m, low, high in claims])
    trains_worse = any(rises[: len(shallower)])
    risen = list(itertools.compress(shallower, rises[len(shallower) :]))
    if trains_worse and (risen or not falls):
        return DEGRADES
    if risen:
        least = min(risen, key=lambda depth: depth.mean("validation_error"))
        fits_better = deepest.mean("train_error") <= least.mean("train_error")
        return OVERFITS if fits_better else UNKNOWN
    return GAINS if falls else TIED


def _enough(judged: Sequence[_Depth]) -> int:
    """Return the fewest layers that are not worse than the best."""
    samples = [depth.scores("validation_error") for depth in judged]
    pairs = list(itertools.permutations(range(len(judged)), 2))
    holds = _hold([(samples[i], samples[j]) for i, j in pairs])
    better = {pair for pair, held in zip(pairs, holds, strict=True) if held}
    best = min(range(len(judged)), key=lambda i: judged[i].mean("validation_error"))
    return next(depth.layers for i, depth in enumerate(judged) if (best, i) not in better)


def _hold(claims: Sequence[tuple[_Sample, _Sample]]) -> list[bool]:
    """Tell which of several claims, that the first mean is below the second, hold.

    Holm 1979 (jstor:4615733): the smallest of m p-values is held against 5 % / m, the next against
    5 % / (m - 1), and so on to the first that fails.
    """
    p = [_p_below(low, high) for low, high in claims]
    holds = [False] * len(p)
    for left, i in zip(range(len(p), 0, -1), sorted(range(len(p)), key=p.__getitem__), strict=True):
        if p[i] > FALSE_VERDICTS / left:
            break
        holds[i] = True
    return holds


def _p_below(low: _Sample, high: _Sample) -> float:
    """Return the p-value of Welch's test that one mean is below another, against that it is not."""
    error = low.error + high.error
    return float(t.cdf((low.mean - high.mean) / math.sqrt(error), _freedom(low, high)))


def _difference(low: _Sample, high: _Sample) -> tuple[float, float, float]:
    """Return by how much one mean is above another, and Welch's 95 % interval."""
    rise = high.mean - low.mean
    half = float(t.ppf(0.975, _freedom(low, high))) * math.sqrt(low.error + high.error)
    return rise, rise - half, rise + half


def _freedom(low: _Sample, high: _Sample) -> float:
    """Return the degrees of freedom of a difference of means (Welch 1947)."""
    spent = sum(sample.error**2 / (sample.n - 1) for sample in (low, high))
    return (low.error + high.error) ** 2 / spent


# --- in words ------------------------------------------------------------------------------------


def _claims(verdicts: pd.DataFrame, axes: Sequence[str]) -> Iterable[str]:
    for _, row in verdicts[verdicts.verdict.isin(CLAIMS)].iterrows():
        yield f"{_name(row, axes)}: {CLAIMS[row.verdict]}."


def _words(table: pd.DataFrame, verdicts: pd.DataFrame, axes: Sequence[str]) -> Iterable[str]:
    judged = verdicts.deepest.notna()
    for _, row in verdicts[judged].iterrows():
        yield f"{_name(row, axes)}: {row.verdict}. {_reason(row)}"
    if not judged.all():
        which = "Nothing" if not judged.any() else f"Of {(~judged).sum()} more groups nothing"
        yield (
            f"{which} can be said yet: {UNKNOWN}. A verdict needs two depths with {LEAST_SEEDS}"
            " seeds each, all else being equal."
        )
    yield from _convergence(table, axes)
    once = table.drop_duplicates(["design", "recipe"])  # a network may stand in several groups
    stopped, failed = int(once.stopped.sum()), int(once.failed.sum())
    if stopped:
        yield (
            f"Early stopping ended {stopped} of these trainings before they could be compared:"
            " those that are left are the better ones, and depths look better than they are."
        )
    if failed:
        yield f"{failed} of these trainings failed, by divergence or for want of memory."


def _name(row: pd.Series, axes: Sequence[str]) -> str:
    words = [f"{axis} {row[axis]}" for axis in axes if axis != "layout" and row[axis] != "-"]
    layout = str(row["layout"]) if "layout" in row else ""
    kind = f"plain {layout}" if layout and "+" not in layout else layout
    return ", ".join(filter(None, [kind, *words])) or f"group {row['group']}"


def _reason(row: pd.Series) -> str:
    train, validation = _moves(row, "train"), _moves(row, "validation")
    return (
        f"Training error goes from {train}; validation error goes from {validation}"
        f" (n = {row.n:g} seeds or more). {_stops(row)}"
    )


def _moves(row: pd.Series, name: str) -> str:
    """Say how an error goes from the best of the shallower networks to the deepest."""
    best, least = row[f"{name}_best"], row[f"{name}_least"]
    rise, low, high = (row[f"{name}_rise{end}"] for end in ("", "_low", "_high"))
    return (
        f"{least:.2%} at {best:g} layers to {least + rise:.2%} at {row.deepest:g}"
        f" ({100 * rise:+.2f} points, {100 * low:+.2f} to {100 * high:+.2f})"
    )


def _stops(row: pd.Series) -> str:
    if row.verdict == TIED:
        return "The seeds do not tell the depths apart."
    if row.enough == row.deepest:
        return f"Going deeper still helped at {row.deepest:g} layers, the deepest compared."
    where = f"at {row.best:g}" if row.best == row.enough else f"from {row.enough:g} to {row.best:g}"
    return f"Going deeper stops helping {where} layers."


def _convergence(table: pd.DataFrame, axes: Sequence[str]) -> Iterable[str]:
    """Say who converges faster, at the greatest depth that several groups have."""
    reached = table[table.epochs_to_loss < math.inf]
    shared = reached.groupby("layers").group.nunique()
    if (shared < 2).all():
        return
    here = reached[reached.layers == shared[shared > 1].index.max()].sort_values("epochs_to_loss")
    by = "; ".join(f"{row.epochs_to_loss:g} by {_name(row, axes)}" for _, row in here.iterrows())
    first = here.iloc[0]
    yield f"At {first.layers} layers, epochs to a training loss of {first.loss:.3g}: {by}."
