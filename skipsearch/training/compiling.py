"""Decision whether to compile a network, which takes a minute, longer than some trainings."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from skipsearch.training.recorded import WARM_UP
from skipsearch.training.step import Step

MARGIN = 2.0  # required ratio of savings to cost, which are both estimates


@dataclass(frozen=True, slots=True)
class Measured:
    """Measured effect of compiling one network.

    Attributes:
        seconds: Time of compiling, in seconds.
        speedup: Time of a step before compiling, divided by that after it.
    """

    seconds: float
    speedup: float


# Used until something is measured; it only decides whether to try at all.
GUESS = Measured(seconds=60.0, speedup=1.5)


class Pace:
    """Seconds per step of a training, without the first steps.

    The first steps also choose kernels, compile and record, which can take longer than a training.

    Args:
        first: Number of first steps.

    Attributes:
        extra: Seconds that the first epochs took beyond the usual time of their steps; 0 until
            measured.
    """

    def __init__(self, first: int) -> None:
        self.extra = 0.0
        self._first = first
        self._seconds, self._steps = 0.0, 0  # totals of the epochs with first steps

    def a_step(self, seconds: float, steps: int) -> float | None:
        """Return the seconds per step of an epoch; None if it includes any of the first steps.

        Args:
            seconds: Seconds that all steps of the epoch took.
            steps: Number of its steps.
        """
        if self._steps < self._first:
            self._seconds += seconds
            self._steps += steps
            return None
        self.extra = self._seconds - self._steps * seconds / steps
        return seconds / steps


class CompileChoice:
    """Decision whether to compile, from measurements on earlier trials in this process."""

    def __init__(self) -> None:
        self._measured: dict[str, Measured] = {}  # by structure of the network

    def pays(self, structure: str, seconds_a_step: float, steps_left: int) -> bool:
        """Return whether compiling saves clearly more time in the remaining steps than it costs.

        Args:
            structure: Structure of the network. One that was not measured is judged by the median
                of all measurements.
            seconds_a_step: Seconds per step without compiling.
            steps_left: Number of remaining steps.
        """
        known = list(self._measured.values()) or [GUESS]
        expected = self._measured.get(
            structure, Measured(median(m.seconds for m in known), median(m.speedup for m in known))
        )
        saved = steps_left * seconds_a_step * (1.0 - 1.0 / expected.speedup)
        return saved > MARGIN * expected.seconds

    def learn(self, structure: str, measured: Measured) -> None:
        """Store a measurement."""
        self._measured[structure] = measured


class Compiling:
    """Compilation of one network, if it pays off, and of its measured effect, each at most once.

    Args:
        choice: Decision from measurements on earlier trials.
        step: Step that compiles the network.
        structure: Structure of the network.
    """

    def __init__(self, choice: CompileChoice, step: Step, structure: str) -> None:
        self._choice = choice
        self._step = step
        self._structure = structure
        self._seconds_plain = 0.0  # per step, before compiling
        self._is_decided = False
        self.begin_steps()

    def begin_steps(self) -> None:
        """Treat the next steps as the first ones, after a change of the step or its recording."""
        self._pace = Pace(first=WARM_UP + 1)

    def consider(self, seconds: float, steps: int, left: int) -> bool:
        """Learn from an epoch, and compile the network or return to the plain one.

        Args:
            seconds: Seconds that the steps of the epoch took.
            steps: Number of these steps.
            left: Number of remaining steps of the training.

        Returns:
            Whether the step has changed.
        """
        if self._is_decided:
            return False
        if self._step.failure is not None:
            self._learn(Measured(seconds, speedup=1.0))
            return False
        a_step = self._pace.a_step(seconds, steps)
        if a_step is None:
            return False
        if self._step.compiled:
            measured = Measured(self._pace.extra, self._seconds_plain / a_step)
            self._learn(measured)
            return measured.speedup < 1.0 and self._compile(False)
        self._seconds_plain = a_step
        return self._choice.pays(self._structure, a_step, left) and self._compile(True)

    def _learn(self, measured: Measured) -> None:
        self._choice.learn(self._structure, measured)
        self._is_decided = True

    def _compile(self, wanted: bool) -> bool:
        self._step.compile(wanted)
        self.begin_steps()
        return True
