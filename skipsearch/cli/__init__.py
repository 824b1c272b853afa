"""The command line: each verb is one call of the public API."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from skipsearch import openmp
from skipsearch.cli.parser import make_parser
from skipsearch.cli.words import EXIT_BAD_INPUT, EXIT_INTERRUPTED
from skipsearch.errors import SkipSearchError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: The command line without the program's name; that of the process if None.

    Returns:
        The exit code: 0; 2 for bad input, told in one line on standard error; 130 if interrupted.
    """
    options = make_parser().parse_args(arguments)
    options.own_process = arguments is None  # may be set up as training wants it
    if options.own_process:
        os.environ.update(openmp.SETTINGS | dict(os.environ))  # the user's own settings count
    try:
        return int(options.verb(options) or 0)
    except SkipSearchError as error:
        print(f"skipsearch: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except BrokenPipeError:
        # Whoever read the output has closed it, as `head` does; nothing is left to be flushed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"skipsearch: error: {where}{error.strerror}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("skipsearch: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    finally:
        if options.own_process and "torch" not in sys.modules:
            # All that is left goes with the process. Python would look for cycles in it first,
            # a second long among 10,000 records. Torch's libraries want theirs to be found.
            gc.freeze()
