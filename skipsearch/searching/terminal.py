"""One line of a terminal that is written over and over, in as many columns as there are."""

from __future__ import annotations

import os
import unicodedata
from typing import TextIO

USUAL_COLUMNS = 80  # of a terminal that does not say how wide it is


def can_redraw(stream: TextIO) -> bool:
    """Whether a line on a stream can be written over: a terminal, and not the simplest kind."""
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def columns_of(stream: TextIO) -> int:
    """Return how wide a terminal is at this moment."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL_COLUMNS
    except (OSError, ValueError):  # ValueError: it is closed
        return USUAL_COLUMNS


def width_of(text: str) -> int:
    """Return how many columns a text takes: two for a wide character, none for an accent."""
    return sum(
        0 if unicodedata.combining(sign) else 1 + (unicodedata.east_asian_width(sign) in "WF")
        for sign in text
    )


def cut(text: str, columns: int) -> str:
    """Return a text, or so much of its beginning as fits, with a sign that it is cut."""
    if width_of(text) <= columns:
        return text
    while text and width_of(text) > columns - 3:
        text = text[:-1]
    return f"{text}..."[: max(columns, 0)]


class Line:
    """A line of a terminal that is written over and over.

    No escape sequence is needed for that: blanks cover what was there.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._width = 0

    def write(self, text: str) -> None:
        """Write a text over what stands there, cut to one row of the terminal as it is now."""
        columns = columns_of(self._stream) - 1  # a text that fills the row begins another
        text = cut(text, columns)
        blanks = " " * (min(self._width, columns) - width_of(text))
        self._stream.write(f"\r{text}{blanks}")
        self._stream.flush()
        self._width = width_of(text)

    def end(self) -> None:
        """Leave the line as it stands, and go to the next."""
        self._stream.write("\n")
        self._stream.flush()
        self._width = 0

    def clear(self) -> None:
        """Cover what stands there, and go back to the start of the line."""
        self.write("")
        self._stream.write("\r")
        self._stream.flush()
