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

# Number of new objects between two garbage collections. With Python's default of 700, a tenth of
# the import time would be spent on collections that free nothing.
IMPORTED = 10_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: Command line without the program's name; that of the process if None.

    Returns:
        Exit code: 0 for success; 1 if all trainings of a search failed; 2 for bad input, with one
        line on standard error; 130 if interrupted.
    """
    own_process = arguments is None  # if so, it may be configured for training
    if own_process:
        gc.set_threshold(IMPORTED)
        os.environ.update(openmp.SETTINGS | dict(os.environ))  # the user's settings have priority
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
            # The reader of the output has closed it, as `head` does.
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
            if own_process and "torch._dynamo" not in sys.modules:
                # All objects end with the process. Without this, Python would search them for
                # cycles, which takes a second. Libraries of PyTorch's compiler need that search.
                gc.freeze()


def _drop_output() -> None:
    """Drop buffered output that cannot be written, since Python would report an error at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
