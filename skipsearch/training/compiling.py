"""Whether compiling a network pays: it takes a minute, and some budgets are shorter."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

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
