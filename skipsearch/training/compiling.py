"""Whether compiling a network pays: it takes a minute, and some budgets are shorter."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from skipsearch.training.step import Step

MARGIN = 2.0  # what is saved must be so many times what it costs: both are estimates


@dataclass(frozen=True, slots=True)
class Measured:
    """What compiling did to one network.

    Attributes:
        seconds: That it took.
        speedup: Steps in the time of one step of before.
    """

    seconds: float
    speedup: float


# Before anything is measured: a guess, which only decides whether to try at all.
GUESS = Measured(seconds=60.0, speedup=1.5)


class CompileChoice:
    """Decides by what was measured on earlier trials in this process."""

    def __init__(self) -> None:
        self._measured: dict[str, Measured] = {}  # by structure of the network

    def pays(self, structure: str, seconds_a_step: float, steps_left: int) -> bool:
        """Whether the steps that are left save more than compiling costs.

        Args:
            structure: Of the network; one that was measured is judged by itself, another by the
                median of all that were.
            seconds_a_step: As it is.
            steps_left: Of the training.
        """
        known = list(self._measured.values()) or [GUESS]
        expected = self._measured.get(
            structure, Measured(median(m.seconds for m in known), median(m.speedup for m in known))
        )
        saved = steps_left * seconds_a_step * (1.0 - 1.0 / expected.speedup)
        return saved > MARGIN * expected.seconds

    def learn(self, structure: str, measured: Measured) -> None:
        """Remember what was measured."""
        self._measured[structure] = measured


class Compiling:
    """Compiles one network where it pays, and keeps what compiling did.

    Plain or compiled, the first epoch shows the cost of choosing kernels, recording and compiling;
    the second one what a step takes.

    Args:
        choice: What was measured on earlier trials, and decides.
        step: Compiles the network.
        structure: Structure of the network.
    """

    def __init__(self, choice: CompileChoice, step: Step, structure: str) -> None:
        self._choice = choice
        self._step = step
        self._structure = structure
        self._epochs_alike = 0  # since it was compiled, or since the first
        self._seconds_first = self._seconds_plain = 0.0

    def consider(self, seconds: float, steps: int, left: int) -> bool:
        """Learn from an epoch, and compile the network or go back to it as it is.

        Args:
            seconds: Seconds that the epoch's steps took.
            steps: Number of these.
            left: Number of steps that are left of the training.

        Returns:
            Whether the step has changed.
        """
        self._epochs_alike += 1
        a_step = seconds / steps
        if self._epochs_alike == 1:
            self._seconds_first = seconds
            if self._step.failure is not None:
                self._choice.learn(self._structure, Measured(seconds, speedup=1.0))
        elif self._step.compiled and self._epochs_alike == 2:
            speedup = self._seconds_plain / a_step
            self._choice.learn(self._structure, Measured(self._seconds_first - seconds, speedup))
            if speedup < 1.0:
                return self._compile(False)
        elif not self._seconds_plain and self._choice.pays(self._structure, a_step, left):
            self._seconds_plain = a_step
            return self._compile(True)
        return False

    def _compile(self, wanted: bool) -> bool:
        self._step.compile(wanted)
        self._epochs_alike = 0
        return True
