"""Every error that skipsearch raises for bad input or a failed trial.

SkipSearchError(ValueError)
  LayoutError        a text that is not a layout
  DesignError        a design that cannot be built
  RecipeError        a recipe that cannot be trained
  SpaceError         a search space that is wrong or empty
  DataError          data that is missing or unreadable
  TrainingError      a training that cannot go on
    DivergedError    its loss is no longer finite
    OvertimeError    it took longer than it may
  RunError           a run folder that does not fit what is asked of it
  ExportError        an artefact that cannot be written or does not agree with its model
"""

from collections.abc import Iterable
from difflib import get_close_matches
from textwrap import shorten


class SkipSearchError(ValueError):
    """The root of all errors of this package; its message is one line meant for the user."""


class LayoutError(SkipSearchError):
    """A text that is not a layout."""


class DesignError(SkipSearchError):
    """A design that is misspelt or cannot be built."""


class RecipeError(SkipSearchError):
    """A recipe that is misspelt or out of range."""


class SpaceError(SkipSearchError):
    """A search space that is misspelt, wrong or empty."""


class DataError(SkipSearchError):
    """Data that is missing, unreadable or of the wrong shape."""


class TrainingError(SkipSearchError):
    """A training that cannot start or go on."""


class DivergedError(TrainingError):
    """A training whose loss is no longer finite."""


class OvertimeError(TrainingError):
    """A training that took longer than it may."""


class RunError(SkipSearchError):
    """A run folder that is missing, locked, or holds something else than what is asked of it."""


class ExportError(SkipSearchError):
    """An artefact that cannot be written, or whose outputs differ from its model's."""


def not_one_of(value: object, allowed: Iterable[str]) -> str:
    """Say that a value is not among the allowed words, with the nearest of them.

    Returns:
        A clause such as ``'projection' is not one of pad, proj, omit (did you mean 'proj'?)``.
    """
    words = list(allowed)
    near = get_close_matches(str(value), words, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{value!r} is not one of {', '.join(words)}{hint}"


def reason(problem: Exception) -> str:
    """Return the first words of an error of someone else's, on one line."""
    return shorten(f"{type(problem).__name__}: {problem}", 160, placeholder=" ...")
