"""Whether compiling a network pays: it takes a minute, and some budgets are shorter."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from skipsearch.training.recorded import WARM_UP
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


class Pace:
    """What the steps of a training take, apart from the first ones.

    Those also choose kernels, compile and record: once, but for longer than many a whole training.

    Args:
        first: Number of steps that do.

    Attributes:
        extra: Seconds that the first epochs took beyond their steps; 0 before that is known.
    """

    def __init__(self, first: int) -> None:
        self.extra = 0.0
        self._first = first
        self._seconds, self._steps = 0.0, 0  # of the epochs that had such steps

    def a_step(self, seconds: float, steps: int) -> float | None:
        """Return the seconds a step of an epoch; None if it had some of the first steps.

        Args:
            seconds: What its steps took together.
            steps: Their number.
        """
        if self._steps < self._first:
            self._seconds += seconds
            self._steps += steps
            return None
        self.extra = self._seconds - self._steps * seconds / steps
        return seconds / steps


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
    """Compiles one network where it pays, and keeps what compiling did; both once.

    Args:
        choice: What was measured on earlier trials, and decides.
        step: Compiles the network.
        structure: Structure of the network.
    """

    def __init__(self, choice: CompileChoice, step: Step, structure: str) -> None:
        self._choice = choice
        self._step = step
        self._structure = structure
        self._seconds_plain = 0.0  # a step, before it was compiled
        self._is_decided = False
        self.begin_steps()

    def begin_steps(self) -> None:
        """Let the next steps be the first ones: of another kind, or recorded anew."""
        self._pace = Pace(first=WARM_UP + 1)

    def consider(self, seconds: float, steps: int, left: int) -> bool:
        """Learn from an epoch, and compile the network or go back to it as it is.

        Args:
            seconds: Seconds that the epoch's steps took.
            steps: Number of these.
            left: Number of steps that are left of the training.

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
