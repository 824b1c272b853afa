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
    DamagedError     a file of it that cannot be read
  ExportError        an artefact that cannot be written or does not agree with its model
  UnknownWordError   a word that was let in, and that a part of the package does not know
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

# USER:PASSWORD@ after a scheme, whatever signs the password has, and with one slash too, as in a
# path made of a URL; USER:PASSWORD@ without a scheme; password=... in a query.
_PASSWORD = re.compile(
    r"(?P<user>\w:/+[^\s:/@]*:)(?:(?!:/)[^@])*@(?:\S*@)?"
    r"|(?P<name>(?<![^\s'\"])[^\s:/@'\"]*:+)[^\s:/@][^\s@'\"]*@"
    r"|(?P<key>\b(?:password|passwd|pwd)=)[^&\s]+?(?=['\"]?:?(?:[\s&]|$))",
    re.IGNORECASE,
)


def hide_passwords(text: str) -> str:
    """Replace the passwords in URLs such as ``scheme://user:password@host`` by ``***``."""
    return _PASSWORD.sub(_without_password, text)


def _without_password(match: re.Match[str]) -> str:
    return f"{match['key']}***" if match["key"] else f"{match['user'] or match['name']}***@"


class SkipSearchError(ValueError):
    """The root of all errors of this package.

    Args:
        message: One line meant for the user; passwords in URLs are hidden.
    """

    def __init__(self, message: str) -> None:
        super().__init__(hide_passwords(message))


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


class DamagedError(RunError):
    """A file of a run folder that is cut short, overwritten, or of another run."""


class ExportError(SkipSearchError):
    """An artefact that cannot be written, or whose outputs differ from its model's."""


class UnknownWordError(SkipSearchError):
    """A word that the checks let in, and that what has to act on it does not know."""


def unknown_word(what: str, word: object) -> UnknownWordError:
    """Return what every dispatch over words raises for a word that it does not name.

    Args:
        what: What the word stands for, such as ``merge``.
        word: The word.
    """
    return UnknownWordError(f"unknown {what} {shown_value(word)}")


class _Shown(Repr):
    """The ``repr`` of values that may be huge, or hold themselves."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = limit
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxlevel = 3

    def repr_str(self, x: str, level: int) -> str:
        """Show a text; a password is hidden before its end is cut off."""
        return super().repr_str(hide_passwords(x), level)

    def repr_int(self, x: int, level: int) -> str:
        """Show a whole number; Python writes none of more than 4,300 digits."""
        if x.bit_length() > 14_000:
            return f"<a whole number of {x.bit_length():,} bits>"
        return super().repr_int(x, level)


def shown_value(value: object, limit: int = 80) -> str:
    """Return a value as a message shows it: its ``repr`` on one line, cut where it is long.

    Args:
        value: Any value, such as one that is refused.
        limit: Number of characters; the middle of what is longer is left out.
    """
    text = " ".join(_Shown(limit).repr(value).splitlines())
    tail = limit // 3
    return text if len(text) <= limit else f"{text[: limit - tail - 3]}...{text[-tail:]}"


def not_one_of(value: object, allowed: Iterable[str]) -> str:
    """Say that a value is not among the allowed words, with the nearest of them.

    Returns:
        A clause such as ``'projection' is not one of pad, proj, omit (did you mean 'proj'?)``.
    """
    words = list(allowed)
    near = get_close_matches(value[:100], words, n=1, cutoff=0.5) if isinstance(value, str) else []
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{shown_value(value)} is not one of {', '.join(words)}{hint}"


def refuse_unknown_keys(
    keys: Iterable[str], allowed: Iterable[str], what: str, error: type[SkipSearchError]
) -> None:
    """Refuse a key that is not among the allowed ones, with the nearest of them.

    Args:
        keys: Those that are given.
        allowed: Those that are known.
        what: What they belong to, such as ``design``.
        error: What is raised.
    """
    known = list(allowed)
    for key in keys:
        if key not in known:
            raise error(f"unknown key of a {what}: {not_one_of(key, known)}")


def reason(problem: Exception) -> str:
    """Return the first words of an error of someone else's, on one line."""
    return one_line(f"{type(problem).__name__}: {problem}")


def one_line(text: str) -> str:
    """Return the first words of a text of someone else's, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:156]} ..."


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 epoch``, ``2,000 epochs``, ``2 classes``.

    Args:
        number: How many there are.
        noun: Of one.
        plural: Of several, where that is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
