"""Groups of trainings that differ only in depth, and the results of the seeds of one depth."""

from __future__ import annotations

import contextlib
import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean

from skipsearch.analysis.depth.samples import Sample
from skipsearch.analysis.ranking import level
from skipsearch.cost import layers
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.metric import Metric, Scale
from skipsearch.record import Epoch, Trial

LEAST_SEEDS = 2  # minimum number of seeds of a compared depth

MEASURES: Mapping[str, Callable[[Epoch, Metric], float]] = {
    "train_error": lambda epoch, metric: metric.lack(epoch.train_score),
    "train_loss": lambda epoch, _: epoch.train_loss,
    "validation_error": lambda epoch, metric: metric.lack(epoch.validation_score),
}


@dataclass(frozen=True)
class Depth:
    """The trainings of one group at one depth."""

    design: Design
    trials: Sequence[Trial]
    epoch: int  # of the comparison
    scale: Scale  # of the validation scores
    images: Mapping[str, int]  # number of images that each error was measured on

    @cached_property
    def layers(self) -> int:
        """Number of layers; see ``cost.layers``."""
        return layers(self.design)

    @property
    def compared(self) -> list[Trial]:
        """Trainings that reached the epoch."""
        return [trial for trial in self.trials if len(trial.curve) >= self.epoch]

    @property
    def is_judged(self) -> bool:
        """Whether there are enough seeds for a verdict."""
        return len(self.compared) >= LEAST_SEEDS

    def count(self, state: str) -> int:
        """Count the trainings that ended in a state before the epoch."""
        return sum(trial.state == state and len(trial.curve) < self.epoch for trial in self.trials)

    def values(self, measure: str) -> list[float]:
        """Return the value of each seed."""
        epochs = (trial.curve[self.epoch - 1] for trial in self.compared)
        return [MEASURES[measure](epoch, self.scale.metric) for epoch in epochs]

    def sample(self, measure: str) -> Sample:
        """Summarise the values of the seeds."""
        least = self._rounding(measure) if measure in self.images else 0.0
        return Sample.of(self.values(measure), least, self.scale)

    def scores(self, error: str) -> Sample:
        """Summarise errors on the scale of the tests.

        Shares of images are tested as empirical logits, other metrics without transformation. The
        standard deviations of small and large shares differ; those of their logits are similar.
        Cox & Snell 1989, Analysis of Binary Data, section 2.1.6:
        log((k + 1/2) / (n - k + 1/2)) for k wrong images among n.
        """
        if not self.scale.metric.is_share_of_images:
            return self.sample(error)
        n = self.images[error]
        shares = [(x * n + 0.5) / (n + 1) for x in self.values(error)]
        slope = 1 / (fmean(shares) * (1 - fmean(shares)))  # of the logit, at the mean
        least = self._rounding(error) * slope**2
        return Sample.of([math.log(x / (1 - x)) for x in shares], least, self.scale)

    def _rounding(self, error: str) -> float:
        """Return the variance of an error due to rounding to whole images."""
        return dataclasses.replace(self.scale, images=self.images[error]).rounding

    def mean(self, measure: str) -> float:
        """Return the mean over the seeds."""
        return fmean(self.values(measure))

    def lowest_loss(self, trial: Trial) -> float:
        """Return the lowest training loss of a training up to the epoch of the comparison."""
        return min(epoch.train_loss for epoch in trial.curve[: self.epoch])

    def epochs_to(self, loss: float) -> list[float]:
        """Return the first epoch at which each training reaches a loss; infinity for never."""
        curves = (trial.curve[: self.epoch] for trial in self.compared)
        return [
            next((e.epoch for e in curve if e.train_loss <= loss), math.inf) for curve in curves
        ]


Group = list[Depth]  # from shallow to deep


def groups_of(
    trials: Sequence[Trial], epochs: int | None, scale: Scale, images: Mapping[str, int]
) -> list[Group]:
    """Group trainings that differ only in depth or seed, those without any skip first.

    A network may be in several groups: if each stage has a single block, projections in all
    shortcuts are the same as projections wherever shapes change.
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
            Depth(design, trained[key], epochs or first.recipe.epochs, scale, images)
            for design in designs
            if design is not None and (key := (design.id, recipe)) in trained
        ]
        groups.append(sorted(group, key=lambda depth: depth.layers))
    return sorted(groups, key=lambda group: _skips(group[-1].design))


def _skips(design: Design) -> tuple[bool, bool]:
    """Return whether a design has shortcuts in its blocks, and long skips."""
    return design.has_effect("merge"), bool(design.links)


def _of_stages(depths: Iterable[tuple[int, ...]], design: Design) -> list[tuple[int, ...]]:
    """Return the depths with the same number of stages as a design."""
    return sorted(each for each in depths if len(each) == len(design.depths))


def _at(design: Design, depths: tuple[int, ...]) -> Design | None:
    """Return a design at another depth; None if it cannot be built."""
    if depths == design.depths:
        return design
    with contextlib.suppress(DesignError):
        return design.replace(depths=depths)
    return None


def described(group: Group, axes: Sequence[str]) -> dict[str, object]:
    """Return the recipe of a group and the values of its axes."""
    trial = dataclasses.replace(group[-1].trials[0], design=group[-1].design)
    return {"recipe": trial.recipe.id} | {axis: level(trial, axis) for axis in axes}
