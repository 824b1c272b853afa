"""Conversion between parameters of the space and of Optuna's trials."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import optuna

from skipsearch.axes import Choice, Parameter, Value
from skipsearch.space import Space


def chooser(trial: optuna.Trial) -> Callable[[str, Parameter], Value]:
    """Return a function that lets Optuna choose a parameter, under its name in the space."""

    def choose(name: str, parameter: Parameter) -> Value:
        if isinstance(parameter, Choice):
            label = trial.suggest_categorical(name, parameter.labels)
            return parameter.value(label)
        if parameter.whole:
            step = 1 if parameter.log else int(parameter.step or 1)
            low, high = int(parameter.low), int(parameter.high)
            return trial.suggest_int(name, low, high, step=step, log=parameter.log)
        value = trial.suggest_float(
            name, parameter.low, parameter.high, step=parameter.step, log=parameter.log
        )
        return parameter.value(value)

    return choose


def labels(values: Mapping[str, Value]) -> dict[str, Value]:
    """Return the values of parameters in Optuna's format."""
    return {n: json.dumps(v) if isinstance(v, tuple) else v for n, v in values.items()}


def values_of(space: Space, params: Mapping[str, Any]) -> dict[str, Value]:
    """Return the values of parameters from Optuna's format.

    Args:
        space: Space of the parameters.
        params: Parameters of a trial.
    """
    parameters = space.parameters
    return {name: parameters[name].value(held) for name, held in params.items()}
