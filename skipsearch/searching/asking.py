"""Proposals of the most informative training about the axes that a search investigates.

``Inquiry`` computes which training is the most informative. Like the other proposers, this one
depends only on the trials of the study.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from skipsearch.record import COMPLETE, FAIL, INTERRUPTED, Trial, has_diverged
from skipsearch.searching.attributes import (
    Queued,
    failure_of,
    is_resumable,
    is_training,
    key_of,
    seed_of,
)
from skipsearch.searching.optuna_trials import values_of
from skipsearch.searching.proposers import Proposer, Trainings
from skipsearch.space import Candidate, Space
from skipsearch.surrogate.inquiry import Inquiry, Training


class Asking(Proposer):
    """A proposer of the most informative training about differences between the levels of axes.

    It proposes a new design, or a known one with a further seed, whichever is more informative.

    Args:
        space: Searched space, with the recipe of the study.
        seed: Seed of all random choices.
        inquiry: Questions about the space.
    """

    def __init__(self, space: Space, seed: int, inquiry: Inquiry) -> None:
        super().__init__(space, seed)
        self._inquiry = inquiry

    def propose(
        self, study: optuna.Study, trial: FrozenTrial, trainings: Trainings, rng: random.Random
    ) -> Candidate:
        """Return the most informative candidate; a random one if none is left.

        The seed is written to the trial, from which ``SearchStudy`` reads it.
        """
        best = self._inquiry.next(self._seen(study), rng)
        if best is None:
            return self._draw(trainings, rng)
        candidate, seed = best
        for name, value in Queued(seed=seed).to_attributes().items():
            study._storage.set_trial_user_attr(trial._trial_id, name, value)
        return candidate

    def is_settled(self, study: optuna.Study) -> bool:
        """Return whether all questions are answered by the trainings so far."""
        return self._inquiry.is_settled(self._seen(study))

    def _seen(self, study: optuna.Study) -> list[Training]:
        found: dict[tuple[str, int], Training] = {}
        for trial in study.get_trials(deepcopy=False):
            if not is_training(trial):
                continue
            key, seed = key_of(trial), seed_of(trial)
            found[key, seed] = Training(
                key,
                seed,
                values_of(self._space, trial.params),
                trial.value if trial.state == TrialState.COMPLETE else self._guess(trial),
                # An interrupted training is resumed under a later number.
                failed=trial.state == TrialState.FAIL and not is_resumable(trial),
            )
        return list(found.values())

    def _guess(self, trial: FrozenTrial) -> float | None:
        diverged = has_diverged(failure_of(trial) or "")
        return self._inquiry.guess if diverged else None


def trainings(
    space: Space, trials: Iterable[Trial], params: Sequence[Mapping[str, Any]], guess: float
) -> list[Training]:
    """Return the trainings of a study that is not running.

    Args:
        space: Searched space.
        trials: Records of the trainings.
        params: Parameters of all trials, by number, from ``load_params``.
        guess: Score of a training that diverged.
    """
    return [
        Training(
            trial.key,
            trial.seed,
            values_of(space, params[trial.number]),
            _score(trial, guess),
            failed=trial.state == FAIL and trial.reason != INTERRUPTED,
        )
        for trial in trials
    ]


def _score(trial: Trial, guess: float) -> float | None:
    if trial.state == COMPLETE:
        return trial.curve[-1].validation_score
    return guess if has_diverged(trial.reason) else None
