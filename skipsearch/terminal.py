"""One line of a terminal that is overwritten repeatedly, within the available columns; times."""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

USUAL_COLUMNS = 80  # of a terminal of unknown width


def can_redraw(stream: TextIO) -> bool:
    """Return whether a line on a stream can be overwritten: a terminal, but not a dumb one."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns_of(stream: TextIO) -> int:
    """Return the current width of a terminal."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):  # ValueError: it is closed
        return USUAL_COLUMNS


def width_of(text: str) -> int:
    """Return the number of columns of a text: two per wide character, none per accent."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def cut(text: str, columns: int) -> str:
    """Return a text, shortened to a number of columns if necessary, with a mark at the cut."""
    if width_of(text) <= columns:
        return text
    while text and width_of(text) > columns - 3:
        text = text[:-1]
    return f"{text}..."[: max(columns, 0)]


class Line:
    """A line of a terminal that is overwritten repeatedly.

    This needs no escape sequences: blanks cover the previous text.

    Args:
        stream: Terminal to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def write(self, text: str) -> None:
        """Overwrite the line with a text, cut to the current width of the terminal."""
        columns = columns_of(self._stream) - 1  # a full row would start another one
        text = cut(text, columns)
        blanks = " " * (min(self._width, columns) - width_of(text))
        self._stream.write(f"\r{text}{blanks}")
        self._stream.flush()
        self._width = width_of(text)

    def end(self) -> None:
        """Keep the line, and start the next one."""
        self._stream.write("\n")
        self._stream.flush()
        self._width = 0

    def clear(self) -> None:
        """Clear the line, and return to its start."""
        self.write("")
        self._stream.write("\r")
        self._stream.flush()


def clock(seconds: float) -> str:
    """Return a time as ``m:ss`` or ``h:mm:ss``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
