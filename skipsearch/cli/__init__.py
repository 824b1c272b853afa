"""The command line: each verb is one call of the public API."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence

from skipsearch import openmp
from skipsearch.cli.console import complain, readable_streams
from skipsearch.cli.parser import read_arguments
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
    own_process = arguments is None  # may be set up as training wants it
    if own_process:
        os.environ.update(openmp.SETTINGS | dict(os.environ))  # the user's own settings count
    with readable_streams(own_process):
        try:
            options = read_arguments(sys.argv[1:] if arguments is None else arguments)
            options.own_process = own_process
            code = int(options.verb(options) or 0)
            sys.stdout.flush()
            return code
        except SkipSearchError as error:
            complain(str(error))
            return EXIT_BAD_INPUT
        except BrokenPipeError:
            # Whoever read the output has closed it, as `head` does.
            _drop_output()
            return 0
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            complain(f"{where}{error.strerror or error}")
            _drop_output()
            return EXIT_BAD_INPUT
        except KeyboardInterrupt:
            print("skipsearch: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except Exception as error:
            error.add_note("This is a bug in skipsearch: please report it with these lines.")
            raise
        finally:
            if own_process and "torch" not in sys.modules:
                # All that is left goes with the process. Python would look for cycles in it first,
                # a second long among 10,000 records. Torch's libraries want theirs to be found.
                gc.freeze()


def _drop_output() -> None:
    """Drop what standard output still holds if it cannot be written: Python would complain."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
