"""The plan of a study, and its proposals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from skipsearch.cost import Cost
from skipsearch.design import Design
from skipsearch.metric import Scale
from skipsearch.recipe import Recipe
from skipsearch.record import LATENCY, SCORE
from skipsearch.searching.samplers import DEFAULT, AnySampler
from skipsearch.space import Candidate, Space
from skipsearch.surrogate.inquiry import Inquiry

Packs = Callable[[Design, Recipe, Sequence[int]], Iterable[Sequence[int]]]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed training.

    Attributes:
        number: Number of the trial in the study.
        candidate: Design and recipe.
        seed: Seed of weights, data order and augmentation.
        pack: Seeds that are trained as one packed network, in the order of their places, including
            its own; see ``SearchStudy.rest_of_pack``.
        costs: Costs of the design.
        scores: Validation scores of the epochs before an interruption.
        stopped_at: Epoch of an overruled stop, as in ``Trial``.
        later: Further packs of a newly proposed design.
    """

    number: int
    candidate: Candidate
    seed: int
    pack: tuple[int, ...]
    costs: Cost
    scores: Sequence[float] = ()
    stopped_at: int = 0
    later: Sequence[tuple[int, ...]] = ()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The plan of a study.

    Attributes:
        space: Searched space; constraints are checked before a design is trained.
        recipe: Recipe of every candidate, except for fields that axes of the recipe set.
        trials: Required number of trainings of the study.
        seed: Seed of the sampler, and of the first training of each design.
        sampler: One of ``SAMPLERS``, or a sampler of Optuna.
        seeds: Maximum number of trainings of one design, with the seeds ``seed``, ``seed + 1``, ...
            The seeds are trained together if the study divides them into packs.
        objectives: Validation score, and the costs to minimise beside it.
        inquiry: Questions about axes of the space, with the same seed and seeds; the study ends
            when all are answered. None to search for the best design.
        scale: Metric and number of validation images; None if they are unknown.
        complete: Whether a proposed design is trained with all seeds before the next proposal, as
            for folds. Without effect if there is an inquiry.
    """

    space: Space
    recipe: Recipe
    trials: int
    seed: int = 0
    sampler: AnySampler = DEFAULT
    seeds: int = 1
    objectives: tuple[str, ...] = (SCORE,)
    inquiry: Inquiry | None = None
    scale: Scale | None = None
    complete: bool = False

    @property
    def measure(self) -> str:
        """Cost by which designs are grouped: the first one known before training, or ``macs``."""
        return next((name for name in self.objectives[1:] if name != LATENCY), "macs")
