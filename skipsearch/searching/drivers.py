"""Which drivers work on a study: one alone, or several at the same time.

One driver alone holds the study in memory, see ``write_behind``. Several work on one where its
storage is a database server: each of them writes first and looks after, and of two that took the
same training at least one gives it back.
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
        memory: The study in memory, where it is held there.

    Attributes:
        name: None: trainings need no name of their driver.
        is_shared: Whether other drivers may work on the study.
    """

    name: str | None = None
    is_shared = False

    def __init__(self, memory: WriteBehind | None = None) -> None:
        self._memory = memory

    def sampler_seed(self, seed: int) -> int:
        """Return the seed as it is."""
        return seed

    def flush(self) -> None:
        """Write to the database what has changed."""
        if self._memory is not None:
            self._memory.flush()

    def wait_until_known(self, running: Iterable[FrozenTrial]) -> None:
        """Wait for nobody."""

    def trains(self, trial: FrozenTrial) -> bool:
        """Return False: no other driver trains anything."""
        return False

    def has_taken(self, number: int, training: Training, trials: int) -> bool:
        """Return False: no other driver takes anything."""
        return False

    def ended(self) -> list[Trial]:
        """Return nothing: no other driver ends anything."""
        return []

    def end(self) -> None:
        """Leave the study."""


class Shared:
    """One of several drivers of a study, and what it knows of the others.

    Args:
        study: Their study.

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
        """Return a seed that no other driver has: none must repeat the draws of another."""
        return random.Random(f"{seed} {self.name}").randrange(2**32)

    def flush(self) -> None:
        """Do nothing: what is written is in the database at once."""

    def wait_until_known(self, running: Iterable[FrozenTrial]) -> None:
        """Wait until it is known of each driver that has a trial whether it is alive.

        Args:
            running: Trials that are under way.
        """
        drivers, unsigned = set(), {}
        for trial in running:
            if driver := driver_of(trial):
                drivers.add(driver)
            else:
                unsigned[trial.number] = _start(trial)
        self._presence.wait_until_known(drivers, unsigned)

    def trains(self, trial: FrozenTrial) -> bool:
        """Whether another driver, which is alive, trains a trial that is under way."""
        driver = driver_of(trial)
        if driver is None:  # not accepted yet: a moment's work, where its driver lives
            return self._presence.is_recent(trial.number, _start(trial))
        return driver != self.name and driver in self._presence.alive()

    def has_taken(self, number: int, training: Training, trials: int) -> bool:
        """Whether another driver has taken a training as well, or the last one that was left.

        Args:
            number: Number of the trial that this driver has accepted.
            training: The training.
            trials: Number of trainings that the study shall hold at the end.
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
        """Return the trainings that other drivers have ended since the last call."""
        trials = self._study.get_trials(deepcopy=False)
        new = [t for t in trials if t.state.is_finished() and t.number not in self._seen]
        self._seen.update(trial.number for trial in new)
        return [
            record_of(trial)
            for trial in new
            if is_training(trial) and not is_interrupted(trial) and driver_of(trial) != self.name
        ]

    def end(self) -> None:
        """Leave the study to the others."""
        self._presence.end()


Drivers = Alone | Shared


def _start(trial: FrozenTrial) -> float:
    """Return when a trial was begun, by the clock of its driver."""
    return trial.datetime_start.timestamp() if trial.datetime_start else 0.0
