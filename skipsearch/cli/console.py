"""Standard streams that are open and accept any character, and error messages on one line."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from skipsearch.errors import line_of

LONGEST = 1_000  # maximum number of characters of a message
# Characters of drawings, and their replacements on a terminal with another encoding.
PLAIN = str.maketrans("─│├┐┘↓→", "-|+++v>")
REPLACED = "skipsearch-plain"  # name of the error handler


def one_line(message: str) -> str:
    """Return a message as one line, without its middle if it is long."""
    text = line_of(" ".join(message.split()))
    half = LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[: half - 5]} ... {text[5 - half :]}"


def complain(message: str, kind: str = "error") -> None:
    """Print an error or a warning to standard error, or to standard output if that is closed."""
    stream = sys.stdout if getattr(sys.stderr, "name", None) == os.devnull else sys.stderr
    print(f"skipsearch: {kind}: {one_line(message)}", file=stream)


@contextmanager
def readable_streams(own_process: bool) -> Iterator[None]:
    """Let standard output and standard error accept any text.

    Characters that are not in the encoding of a stream are replaced. In a dedicated process, closed
    streams are opened on the null device: otherwise the next opened file, such as the study, would
    get the number of the closed stream, and the output of a library would be written to it.

    Args:
        own_process: Whether only the command line uses the streams.
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
    """Replace unencodable characters: those of drawings by ASCII, others by escapes."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    plain = error.object[error.start : error.end].translate(PLAIN)
    return plain.encode("ascii", "backslashreplace").decode("ascii"), error.end


def _open_closed_streams() -> None:
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # os.open uses the lowest free number, which is this one. Child processes need it too.
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
