"""One calm line about a search: how many trials ended how, the best so far, the time left."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Iterable
from typing import TextIO

from skipsearch.record import COMPLETE, FAIL, PRUNED, Trial

QUIET_SECONDS = 10.0  # between two lines where the output is no terminal


class Progress:
    """Shows the state of a search; on a terminal one line that renews itself.

    Args:
        budget: Trials asked for.
        earlier: Records of trials that ended before this session.
        stream: Where to write; standard error if None.
    """

    def __init__(self, budget: int, earlier: Iterable[Trial], stream: TextIO | None = None) -> None:
        self._budget = budget
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        self._states: Counter[str] = Counter()
        self._best: tuple[float, int] | None = None
        for trial in earlier:
            self._states[trial.state] += 1
            if trial.state == COMPLETE:
                self._best_of(trial.curve[-1].validation_accuracy, trial.number)
        self._before = sum(self._states.values())
        self._start = time.monotonic()
        self._shown = -math.inf
        self._told = ""

    def _best_of(self, accuracy: float, number: int) -> None:
        if self._best is None or accuracy > self._best[0]:
            self._best = (accuracy, number)

    def say(self, text: str) -> None:
        """Write a line of its own."""
        self._stream.write(text + "\n")
        self._stream.flush()

    def ended(self, number: int, state: str, accuracy: float | None, running: int) -> None:
        """Count a trial that ended, and show it."""
        self._states[state] += 1
        if state == COMPLETE and accuracy is not None:
            self._best_of(accuracy, number)
        self.show(running)

    def show(self, running: int, final: bool = False) -> None:
        """Write the line, if it is time to."""
        now = time.monotonic()
        done = sum(self._states.values()) >= self._budget
        if not (self._live or final or done) and now - self._shown < QUIET_SECONDS:
            return
        self._shown = now
        line = self.line(running, now - self._start)
        told, _, _ = line.rpartition(" | ")  # without the time
        if final and not self._live and told == self._told:
            return
        self._told = told
        if self._live:
            self._stream.write("\r\x1b[2K" + line + ("\n" if final else ""))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

    def line(self, running: int, seconds: float) -> str:
        """Return the line.

        Args:
            running: Trials under way.
            seconds: Since this session began.
        """
        ended = sum(self._states.values())
        parts = [
            f"{ended}/{self._budget} trials",
            f"{self._states[COMPLETE]} finished, {running} running,"
            f" {self._states[PRUNED]} stopped early, {self._states[FAIL]} failed",
        ]
        if self._best is not None:
            parts.append(f"best {self._best[0]:.4f} (trial {self._best[1]})")
        here = ended - self._before
        if ended < self._budget and here:
            parts.append(f"{clock(seconds / here * (self._budget - ended))} left")
        else:
            parts.append(f"{clock(seconds)} passed")
        return " | ".join(parts)


def clock(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
