"""A running training, and the recording of its results in its trial."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import optuna

from skipsearch.record import LATENCY, Environment, Epoch
from skipsearch.searching.attributes import Training


def write(trial: optuna.Trial, attributes: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Write the attributes of a trial, one after another.

    Args:
        trial: Trial to write to.
        attributes: New attributes, from ``to_attributes``.
        before: Current attributes; equal ones are not written again.
    """
    for name, value in attributes.items():
        if before.get(name) != value:
            trial.set_user_attr(name, value)


class OpenTraining:
    """A running training of this session.

    Args:
        trial: Trial in the study.
        training: Content of the trial's attributes.
    """

    def __init__(self, trial: optuna.Trial, training: Training) -> None:
        self._trial = trial
        self._training = training
        self._written = training.to_attributes()
        self._curve: list[Epoch] = []  # in this session: a resumed training reports all epochs

    @property
    def key(self) -> str:
        """Key of design and recipe, see ``Training.key``."""
        return self._training.key

    def report(
        self,
        epochs: Iterable[Epoch],
        environment: Environment,
        latency: float | None,
        to_optuna: bool,
    ) -> None:
        """Record epochs; those that are already recorded are ignored.

        Args:
            epochs: Epochs of the training so far.
            environment: Environment of the training.
            latency: Seconds for a batch, of which the first report is recorded; None if it was not
                measured.
            to_optuna: Whether to report them to Optuna's samplers.
        """
        before = len(self._curve)
        for epoch in sorted(epochs, key=lambda epoch: epoch.epoch):
            if epoch.epoch == len(self._curve) + 1:
                self._curve.append(epoch)
                if to_optuna:
                    self._trial.report(epoch.validation_score, epoch.epoch)
        if len(self._curve) > before:
            self._write(replace(self._training, curve=tuple(self._curve)))
        # A report of a failure has no numerics: those of the previous epochs stay.
        known = self._training.environment
        if environment != known and (known is None or environment.numerics):
            self._write(replace(self._training, environment=environment))
        if latency is not None and self._training.latency is None:
            self._write(replace(self._training, latency=latency))

    def audit(self, epoch: int) -> None:
        """Record the epoch after which the training would have been stopped without an audit."""
        self._write(replace(self._training, stopped_at=epoch))

    def fail(self, reason: str) -> None:
        """Record the reason of the training's failure."""
        self._write(replace(self._training, reason=reason))

    def interrupt(self) -> None:
        """Record that the training was not the cause of its interruption."""
        self._write(replace(self._training, orderly=True))

    def values(self, objectives: Sequence[str], epochs: int) -> list[float]:
        """Return the value of each objective at the full budget.

        Args:
            objectives: Objectives as in ``Plan``.
            epochs: Full budget.
        """
        assert len(self._curve) == epochs, "COMPLETE means the full budget"
        return [self._curve[-1].validation_score, *map(self._cost, objectives[1:])]

    def _cost(self, name: str) -> float:
        cost = getattr(self._training if name == LATENCY else self._training.costs, name)
        assert cost is not None, f"{name} was not measured"
        return float(cost)

    def _write(self, training: Training) -> None:
        attributes = training.to_attributes()
        write(self._trial, attributes, self._written)
        self._training, self._written = training, attributes
