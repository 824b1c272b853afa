"""The command line: its verbs and its parser."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from skipsearch.cli import designs, runs, sessions, winners
from skipsearch.cli.options import Parser
from skipsearch.errors import shown_value

# In the order of the help: verbs that start, show and end a search, then those that explain it.
VERBS = (
    designs.add_show,
    designs.add_check,
    designs.add_train,
    sessions.add_search,
    runs.add_rank,
    runs.add_pareto,
    winners.add_export,
    winners.add_predict,
    winners.add_explain,
    sessions.add_degradation,
    runs.add_effects,
    sessions.add_confirm,
    runs.add_report,
    runs.add_compare,
)


def read_arguments(words: Sequence[str]) -> argparse.Namespace:
    """Parse a command line; ``verb`` in the result is the function to call.

    Raises:
        SystemExit: If it is invalid, or requests help.
    """
    parser = make_parser()
    for word in words:
        flag, _, value = word.partition("=")
        if flag.startswith("--") and value == "--":
            # The standard parser would accept it as a flag with an empty list.
            parser.error(f"argument {flag}: expected one argument")
        if "\0" in word:
            parser.error(f"{shown_value(word)} holds a null character")
        if not is_utf8(word):
            parser.error(f"{shown_value(word)} is not UTF-8: rename what it names")
    return parser.parse_args(words)


def is_utf8(word: str) -> bool:
    """Return whether a word of the command line is UTF-8."""
    try:
        word.encode()
    except UnicodeEncodeError:
        return False
    return True


def make_parser() -> Parser:
    """Return the parser with all verbs."""
    parser = Parser(
        prog="skipsearch",
        description="Neural architecture search over skip-connection designs.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"skipsearch {_version()}")
    verbs = parser.add_subparsers(title="verbs", required=True, metavar="VERB")
    for add in VERBS:
        add(verbs)
    return parser


def _version() -> str:
    try:
        return version("skipsearch")
    except PackageNotFoundError:
        return "(not installed)"
