"""The samplers of a search by name, which propose the designs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import optuna

from skipsearch.config import SAMPLERS
from skipsearch.errors import RunError, not_one_of
from skipsearch.metric import Scale
from skipsearch.record import SCORE
from skipsearch.searching.proposers import Evolution, Grid, Local
from skipsearch.searching.surrogate import Surrogate
from skipsearch.space import Space

DEFAULT = "surrogate"
ONE_OBJECTIVE = ("evolution", "local")  # they rank trainings by one value

AnySampler = str | optuna.samplers.BaseSampler


def make_sampler(
    sampler: AnySampler,
    space: Space,
    seed: int,
    objectives: Sequence[str] = (SCORE,),
    scale: Scale | None = None,
) -> optuna.samplers.BaseSampler:
    """Return the sampler of a name; an existing sampler is returned unchanged.

    ``surrogate``, ``tpe`` and ``gp`` model the observed values, ``nsga2`` and ``evolution`` mutate
    the best designs, ``local`` is hill climbing, and ``random`` and ``grid`` use no values.

    Conditional axes are absent from many trials. Samplers that take their dimensions from the first
    trial draw such axes at random. A resumed search creates a new sampler, with another seed.

    Args:
        sampler: One of ``SAMPLERS``, or a sampler of Optuna.
        space: Searched space, with the recipe of the study.
        seed: Seed of all random choices, below 2**32.
        objectives: Validation score, and the costs to minimise beside it.
        scale: Metric and number of validation images; None if they are unknown.

    Raises:
        RunError: If the name is unknown, or its sampler supports only one objective.
        SpaceError: If the space is continuous or too large for ``grid``.
    """
    if isinstance(sampler, optuna.samplers.BaseSampler):
        return sampler
    if len(objectives) > 1 and sampler in ONE_OBJECTIVE:
        others = ", ".join(word for word in SAMPLERS if word not in ONE_OBJECTIVE)
        raise RunError(
            f"sampler {sampler} supports one objective, not {len(objectives)}; allowed: {others}"
        )
    with warnings.catch_warnings():
        # TPE's group and multivariate have been marked experimental for years.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        match sampler:
            case "tpe":
                return optuna.samplers.TPESampler(
                    n_startup_trials=10,
                    n_ei_candidates=24,
                    multivariate=True,
                    group=True,  # required for conditional axes
                    constant_liar=True,  # separates concurrent trials
                    seed=seed,
                )
            case "random":
                return optuna.samplers.RandomSampler(seed=seed)
            case "grid":
                return Grid(space, seed)
            case "gp":
                return optuna.samplers.GPSampler(
                    n_startup_trials=10,
                    deterministic_objective=False,  # another seed gives another score
                    # Conditional parameters are expected to be drawn at random in every trial.
                    independent_sampler=optuna.samplers.RandomSampler(seed=seed),
                    warn_independent_sampling=False,
                    seed=seed,
                )
            case "nsga2":
                return _Generations(
                    # With Optuna's 50, a search of 50 trials has only its first, random generation.
                    population_size=10,
                    crossover_prob=0.9,
                    swapping_prob=0.5,
                    mutation_prob=None,  # one parameter of a child on average
                    seed=seed,
                )
            case "evolution":
                return Evolution(space, seed)
            case "local":
                return Local(space, seed)
            case "surrogate":
                return Surrogate(space, seed, objectives, scale)
    raise RunError(f"sampler {not_one_of(sampler, SAMPLERS)}")


def sampler_name(sampler: AnySampler) -> str:
    """Return the name of a sampler; for a sampler object, the name of its class."""
    return sampler if isinstance(sampler, str) else type(sampler).__name__


class _Generations(optuna.samplers.NSGAIISampler):
    """NSGA-II (Deb et al. 2002) whose generations include the queued trials.

    Optuna assigns a generation to a trial when it samples it. The replacement of a known proposal
    is queued and not sampled, so it would be in no population and could never be a parent.
    """

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        super().before_trial(study, trial)
        self.get_trial_generation(study, trial)
