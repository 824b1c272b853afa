"""Optuna's trials: how parameters and attributes of trainings are written into them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import FrozenTrial

from skipsearch.axes import Choice, Parameter, Value
from skipsearch.canonical import ID_RULES
from skipsearch.record import Epoch
from skipsearch.searching.records import (
    CONTINUES,
    KEY,
    PACK,
    REASON,
    REJECTED,
    RULES,
    SEED,
    is_interrupted,
    key_of,
)

AT_REST = (KEY, SEED, REJECTED, CONTINUES, REASON)  # what is needed of a training that has ended


@dataclass
class OpenTraining:
    """A training under way: its handle in the study, and what is recorded of it so far."""

    trial: optuna.Trial
    key: str
    costs: Mapping[str, float]
    latency: float | None
    curve: list[Epoch] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)

    def set(self, name: str, value: Any) -> None:
        """Set an attribute of the trial, if it is not set already."""
        if self.written.get(name) != value:
            self.trial.set_user_attr(name, value)
            self.written[name] = value


def marks(seed: int, pack: Sequence[int]) -> dict[str, Any]:
    """Return the attributes that say what a trial is of."""
    return {SEED: seed} | ({PACK: list(pack)} if len(pack) > 1 else {})


def began(trial: FrozenTrial) -> float:
    """Return when a trial began, by the clock of its driver."""
    return trial.datetime_start.timestamp() if trial.datetime_start else 0.0


def at_rest(trial: FrozenTrial) -> dict[str, Any]:
    """Return the attributes of a trial that has ended, as far as a study still needs them."""
    attributes = trial.user_attrs
    if is_interrupted(trial):
        return attributes  # it goes on with them
    kept = {name: attributes[name] for name in AT_REST if name in attributes}
    return kept | ({KEY: key_of(trial), RULES: ID_RULES} if KEY in attributes else {})


def chooser(trial: optuna.Trial) -> Callable[[str, Parameter], Value]:
    """Let Optuna choose the value of each parameter, under the name that it has in the space."""

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
    """Return the values of parameters as Optuna's parameters hold them."""
    return {n: json.dumps(v) if isinstance(v, tuple) else v for n, v in values.items()}
