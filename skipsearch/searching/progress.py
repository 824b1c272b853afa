"""A progress line of a search: numbers of trials by state, the best score, the remaining time."""

from __future__ import annotations

import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from statistics import fmean
from typing import TextIO

from skipsearch.errors import counted, escaped
from skipsearch.metric import Metric
from skipsearch.record import COMPLETE, FAIL, PRUNED, Trial
from skipsearch.terminal import Line, can_redraw, clock, columns_of

QUIET_SECONDS = 10.0  # between two lines if the output is not a terminal
SHOWN = 6  # digits of the id of a design


class Progress:
    """A display of the state of a search; on a terminal, one line that is redrawn.

    Args:
        budget: Requested number of trials.
        earlier: Records of trials that ended before this session.
        metric: Metric of the scores.
        folds: Number of folds. If there are several, the best design is that with the best mean
            over all of them.
        stream: Output stream; standard error if None.
    """

    def __init__(
        self,
        budget: int,
        earlier: Iterable[Trial],
        metric: Metric,
        *,
        folds: int = 1,
        stream: TextIO | None = None,
    ) -> None:
        self._budget = budget
        self._metric = metric
        self._folds = folds
        self._stream = stream or sys.stderr
        self._row = Line(self._stream) if can_redraw(self._stream) else None
        self._states: Counter[str] = Counter()
        self._best: tuple[float, str] | None = None
        self._scores: dict[str, list[float]] = defaultdict(list)  # of each design, with folds
        for trial in earlier:
            score = trial.curve[-1].validation_score if trial.curve else None
            self._count(trial.number, trial.key, trial.state, score)
        self._before = sum(self._states.values())
        self._start = time.monotonic()
        self._shown = -math.inf
        self._last_line = ""

    def _count(self, number: int, key: str, state: str, score: float | None) -> None:
        self._states[state] += 1
        if state == COMPLETE and score is not None:
            self._update_best(number, key, score)

    def _update_best(self, number: int, key: str, score: float) -> None:
        if self._folds == 1:
            if self._best is None or score > self._best[0]:
                self._best = (score, f"trial {number}")
            return
        self._scores[key].append(score)
        means = {k: fmean(seen) for k, seen in self._scores.items() if len(seen) >= self._folds}
        if means:
            best = max(means, key=means.__getitem__)
            self._best = (means[best], f"design {best[:SHOWN]}")

    def write_line(self, text: str) -> None:
        """Write a separate line."""
        self._stream.write(f"{escaped(text)}\n")
        self._stream.flush()

    def ended(self, number: int, key: str, state: str, score: float | None, running: int) -> None:
        """Count an ended trial, and update the line.

        Args:
            number: Number of the trial.
            key: Key of its design and recipe.
            state: State in which it ended.
            score: Its last validation score; None if it has none.
            running: Number of running trials.
        """
        self._count(number, key, state, score)
        self.show(running)

    def show(self, running: int, final: bool = False) -> None:
        """Write the line if it is due."""
        now = time.monotonic()
        done = sum(self._states.values()) >= self._budget
        if not (self._row or final or done) and now - self._shown < QUIET_SECONDS:
            return
        self._shown = now
        if self._row is not None:
            self._row.write(self.line(running, now - self._start, columns_of(self._stream) - 1))
            if final:
                self._row.end()
            return
        line = self.line(running, now - self._start)
        without_time, _, _ = line.rpartition(" | ")
        if (final or done) and without_time == self._last_line:
            return
        self._last_line = without_time
        self._stream.write(line + "\n")
        self._stream.flush()

    def line(self, running: int, seconds: float, columns: int | None = None) -> str:
        """Return the line.

        Args:
            running: Number of running trials.
            seconds: Seconds since the start of this session.
            columns: Maximum number of columns, to which the line is shortened; None for no limit.
        """
        ended = sum(self._states.values())
        here = ended - self._before
        if ended < self._budget and here:
            when = f"{clock(seconds / here * (self._budget - ended))} left"
        else:
            when = f"{clock(seconds)} elapsed"
        finished, failed = self._states[COMPLETE], self._states[FAIL]
        stopped = f"{self._states[PRUNED]} stopped early"
        count = f"{ended:,}/{counted(self._budget, 'trial')}"
        best, best_trial = [], []
        if self._best is not None:
            score, name = self._best
            value = self._metric.text(self._metric.value(score))
            best = [f"best {value}"]
            mean = "mean " * (self._folds > 1)
            best_trial = [f"best {mean}{self._metric.title} {value} ({name})"]
        states = f"{finished} finished, {running} running, {stopped}, {failed} failed"
        forms = (
            [count, states, *best_trial, when],
            [count, f"{running} running, {failed} failed", *best_trial, when],
            [f"{ended:,}/{self._budget:,}", *best, when],
        )
        lines = [" | ".join(parts) for parts in forms]
        return next((line for line in lines if columns is None or len(line) <= columns), lines[-1])
