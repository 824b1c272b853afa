"""Stub."""

from __future__ import annotations

import warnings

import optuna

from skipsearch.space import Space

SAMPLERS = ("tpe", "random")


def make_sampler(
    name: str, space: Space, seed: int, objectives: int = 1
) -> optuna.samplers.BaseSampler:
    """Stub."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if name == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            n_startup_trials=10,
            n_ei_candidates=24,
            multivariate=True,
            group=True,
            constant_liar=True,
            seed=seed,
        )
