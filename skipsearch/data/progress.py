"""A progress line of the reading of many files."""

from __future__ import annotations

import sys
import threading
import time
from typing import TextIO

from skipsearch.errors import counted
from skipsearch.terminal import Line, can_redraw, clock

FIRST = 1.0  # seconds until the first line, so that small folders show none
REDRAWN, QUIET = 0.1, 10.0  # seconds between two lines, on a terminal and elsewhere


class Progress:
    """A display of the number of files read; on a terminal, one line that is redrawn.

    Args:
        total: Number of files.
        what: What a file is, such as ``image``.
        stream: Output stream; standard error if None.
    """

    def __init__(self, total: int, what: str, *, stream: TextIO | None = None) -> None:
        self._total = total
        self._what = what
        self._stream = stream or sys.stderr
        self._row = Line(self._stream) if can_redraw(self._stream) else None
        self._done = 0
        self._lock = threading.Lock()
        self._start = time.monotonic()
        self._due = self._start + (FIRST if self._row else QUIET)
        self._shown = False

    def add(self, number: int) -> None:
        """Count files, and write the line if it is due; called from several threads."""
        with self._lock:
            self._done += number
            now = time.monotonic()
            if now < self._due:
                return
            self._due = now + (REDRAWN if self._row else QUIET)
            self._shown = True
            line = self.line(now - self._start)
            if self._row is not None:
                self._row.write(line)
            else:
                self._stream.write(f"{line}\n")
                self._stream.flush()

    def line(self, seconds: float) -> str:
        """Return the line.

        Args:
            seconds: Seconds since the start.
        """
        left = seconds / max(1, self._done) * (self._total - self._done)
        return f"reading {self._done:,}/{counted(self._total, self._what)} | {clock(left)} left"

    def close(self) -> None:
        """Clear the line of a terminal."""
        if self._row is not None and self._shown:
            self._row.clear()
