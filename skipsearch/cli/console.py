"""The standard streams: all are open, none stumbles over a character, an error is one line."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from skipsearch.errors import hide_passwords

LONGEST = 1_000  # characters of a message
# What drawings use, and what stands for it on a terminal of another encoding.
PLAIN = str.maketrans("─│├┐┘↓→", "-|+++v>")
REPLACED = "skipsearch-plain"  # what the error handler is called


def one_line(message: str) -> str:
    """Return a message on one line, without passwords, and without its middle if it is long."""
    text = " ".join(hide_passwords(message).split())
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 5]} ... {text[5 - half :]}"


def complain(message: str, kind: str = "error") -> None:
    """Print an error or a warning on standard error, or on standard output where that is closed."""
    stream = sys.stdout if getattr(sys.stderr, "name", None) == os.devnull else sys.stderr
    print(f"skipsearch: {kind}: {one_line(message)}", file=stream)


@contextmanager
def readable_streams(own_process: bool) -> Iterator[None]:
    """Let standard output and standard error take any text.

    Characters that the encoding of a stream does not have are replaced. In a process of our own,
    streams that are closed are opened on the null device: otherwise the next file that anybody
    opens, such as the study, would take the number of the closed stream, and what a library prints
    would be written into it.

    Args:
        own_process: Whether the streams belong to the command line alone.
    """
    codecs.register_error(REPLACED, _in_plain_signs)
    if own_process:
        _open_closed_streams()
    streams = [s for s in (sys.stdout, sys.stderr) if isinstance(s, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=REPLACED)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


def _in_plain_signs(error: UnicodeError) -> tuple[str | bytes, int]:
    """Replace what cannot be encoded: a drawing's signs by ASCII, others by their escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = error.object[error.start : error.end].translate(PLAIN)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _open_closed_streams() -> None:
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is taken, which is this one. Child processes need it as well.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        complain(
            "standard output is closed, so that no result is shown:"
            " redirect it to a file, or to /dev/null if none is wanted",
            "warning",
        )
