"""The drivers of a study: a single one, or several at the same time.

A single driver keeps the study in memory, see ``write_behind``. Several drivers can share a study
on a database server: each of them writes first and checks afterwards, and if two took the same
training, at least one gives it up.
"""

from __future__ import annotations

import random
from collections.abc import Iterable

import optuna
from optuna.trial import FrozenTrial

from skipsearch.record import Trial
from skipsearch.searching.attributes import (
    Training,
    driver_of,
    is_interrupted,
    is_training,
    key_of,
    seed_of,
)
from skipsearch.searching.presence import Presence
from skipsearch.searching.records import record_of
from skipsearch.searching.write_behind import WriteBehind


class Alone:
    """The only driver of a study.

    Args:
        memory: Study in memory, if it is kept there.

    Attributes:
        name: None, since trainings need no name of their driver.
        is_shared: Whether other drivers may work on the study.
    """

    name: str | None = None
    is_shared = False

    def __init__(self, memory: WriteBehind | None = None) -> None:
        self._memory = memory

    def sampler_seed(self, seed: int) -> int:
        """Return the seed unchanged."""
        return seed

    def flush(self) -> None:
        """Write all changes to the database."""
        if self._memory is not None:
            self._memory.flush()

    def wait_until_known(self, running: Iterable[FrozenTrial]) -> None:
        """Do nothing: there are no other drivers."""

    def trains(self, trial: FrozenTrial) -> bool:
        """Return False: there are no other drivers."""
        return False

    def has_taken(self, number: int, training: Training, trials: int) -> bool:
        """Return False: there are no other drivers."""
        return False

    def ended(self) -> list[Trial]:
        """Return an empty list: there are no other drivers."""
        return []

    def end(self) -> None:
        """Leave the study."""


class Shared:
    """One of several drivers of a study, with its information about the others.

    Args:
        study: Shared study.

    Attributes:
        name: Name of this driver.
        is_shared: Whether other drivers may work on the study.
    """

    is_shared = True

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._presence = Presence(study)
        self.name: str | None = self._presence.driver
        trials = study.get_trials(deepcopy=False)
        self._seen = {trial.number for trial in trials if trial.state.is_finished()}

    def sampler_seed(self, seed: int) -> int:
        """Return a seed that no other driver has, so that their draws differ."""
        return random.Random(f"{seed} {self.name}").randrange(2**32)

    def flush(self) -> None:
        """Do nothing: all writes go directly to the database."""

    def wait_until_known(self, running: Iterable[FrozenTrial]) -> None:
        """Wait until it is known whether each driver with a running trial is alive.

        Args:
            running: Running trials.
        """
        drivers, unsigned = set(), {}
        for trial in running:
            if driver := driver_of(trial):
                drivers.add(driver)
            else:
                unsigned[trial.number] = _start(trial)
        self._presence.wait_until_known(drivers, unsigned)

    def trains(self, trial: FrozenTrial) -> bool:
        """Return whether another driver that is alive trains a running trial."""
        driver = driver_of(trial)
        if driver is None:  # not accepted yet, which a living driver does shortly
            return self._presence.is_recent(trial.number, _start(trial))
        return driver != self.name and driver in self._presence.alive()

    def has_taken(self, number: int, training: Training, trials: int) -> bool:
        """Return whether another driver has taken the same training, or the last one required.

        Args:
            number: Number of the trial that this driver has accepted.
            training: Training of this trial.
            trials: Required number of trainings of the study.
        """
        slots = set()
        for trial in self._study.get_trials(deepcopy=False):
            if trial.number == number or not is_training(trial):
                continue
            slot = (key_of(trial), seed_of(trial))
            slots.add(slot)
            if slot == (training.key, training.seed) and not is_interrupted(trial):
                return True
        return training.continues is None and len(slots) >= trials

    def ended(self) -> list[Trial]:
        """Return the trainings of other drivers that have ended since the last call."""
        trials = self._study.get_trials(deepcopy=False)
        new = [t for t in trials if t.state.is_finished() and t.number not in self._seen]
        self._seen.update(trial.number for trial in new)
        return [
            record_of(trial)
            for trial in new
            if is_training(trial) and not is_interrupted(trial) and driver_of(trial) != self.name
        ]

    def end(self) -> None:
        """Leave the study to the other drivers."""
        self._presence.end()


Drivers = Alone | Shared


def _start(trial: FrozenTrial) -> float:
    """Return the start time of a trial, by the clock of its driver."""
    return trial.datetime_start.timestamp() if trial.datetime_start else 0.0
