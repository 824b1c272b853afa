"""Every error that skipsearch raises for bad input or a failed trial.

SkipSearchError(ValueError)
  LayoutError        a text that is not a valid layout
  DesignError        a design that cannot be built
  RecipeError        a recipe that cannot be trained
  SpaceError         a search space that is invalid or empty
  DataError          data that is missing or unreadable
    UnreadableError  an image file that is damaged
    ChangedError     a file of images that was removed, or has changed since it was read
    IndivisibleError  images of which a split or fold would lack a class
  TrainingError      a training that cannot continue
    DivergedError    its loss is no longer finite
    OvertimeError    it exceeded its time limit
  RunError           a run folder that does not fit the request
    DamagedError     a file in it that cannot be read
  ExportError        an artefact that cannot be written or does not agree with its model
  UnknownWordError   a word that passed the checks but is unknown to a part of the package
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from reprlib import Repr

# USER:PASSWORD@ after a scheme, with any characters in the password, also with a single slash as in
# a path made from a URL; USER:PASSWORD@ without a scheme; password=... in a query.
_PASSWORD = re.compile(
    r"(?P<user>\w:/+[^\s:/@]*:)(?:(?!:/)[^@])*@(?:\S*@)?"
    r"|(?P<name>(?<![^\s'\"])[^\s:/@'\"]*:+)[^\s:/@][^\s@'\"]*@"
    r"|(?P<key>\b(?:password|passwd|pwd)=)[^&\s]+?(?=['\"]?:?(?:[\s&]|$))",
    re.IGNORECASE,
)


def hide_passwords(text: str) -> str:
    """Replace passwords in URLs such as ``scheme://user:password@host`` with ``***``."""
    return _PASSWORD.sub(_without_password, text)


def _without_password(match: re.Match[str]) -> str:
    return f"{match['key']}***" if match["key"] else f"{match['user'] or match['name']}***@"


# Control characters, separators of lines and paragraphs, and parts of names that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def escaped(text: str) -> str:
    r"""Return a text with control characters as escapes, such as ``\n`` in the name of a file."""
    return _CONTROL.sub(lambda match: ascii(match[0])[1:-1], text)


def line_of(text: str) -> str:
    """Return a text as one line for the user, with control characters escaped, no passwords."""
    return escaped(hide_passwords(text))


class SkipSearchError(ValueError):
    """The base class of all errors of this package.

    Args:
        message: Line for the user, which ``line_of`` makes fit to be shown.
    """

    def __init__(self, message: str) -> None:
        super().__init__(line_of(message))


class LayoutError(SkipSearchError):
    """A text that is not a valid layout."""


class DesignError(SkipSearchError):
    """A design that is invalid or cannot be built."""


class RecipeError(SkipSearchError):
    """A recipe that is invalid or out of range."""


class SpaceError(SkipSearchError):
    """A search space that is invalid or empty."""


class DataError(SkipSearchError):
    """Data that is missing, unreadable or of the wrong shape."""


class ChangedError(DataError):
    """A file of images that was removed, or has changed since it was read."""


class IndivisibleError(DataError):
    """Images of which a drawn split or a fold would lack a class, a label or a varying target."""


class UnreadableError(DataError):
    """An image file that is damaged, or not an image."""


class TrainingError(SkipSearchError):
    """A training that cannot start or continue."""


class DivergedError(TrainingError):
    """A training whose loss is no longer finite."""


class OvertimeError(TrainingError):
    """A training that exceeded its time limit."""


class RunError(SkipSearchError):
    """A run folder that is missing, locked, or does not fit the request."""


class DamagedError(RunError):
    """A file of a run folder that is truncated, overwritten, or from another run."""


class ExportError(SkipSearchError):
    """An artefact that cannot be written, or whose outputs differ from its model's."""


class UnknownWordError(SkipSearchError):
    """A word that passed the checks but is unknown to the code that handles it."""


def unknown_word(what: str, word: object) -> UnknownWordError:
    """Return the error that every dispatch over words raises for an unknown word.

    Args:
        what: Concept that the word belongs to, such as ``merge``.
        word: Unknown word.
    """
    return UnknownWordError(f"unknown {what} {shown_value(word)}")


class _Shown(Repr):
    """The ``repr`` of values that may be huge or contain themselves."""

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.maxstring = self.maxlong = self.maxother = limit
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = 12
        self.maxlevel = 3

    def repr_str(self, x: str, level: int) -> str:
        """Show a string; passwords are hidden before it is truncated."""
        return super().repr_str(hide_passwords(x), level)

    def repr_int(self, x: int, level: int) -> str:
        """Show an integer; Python cannot print more than 4,300 digits."""
        if x.bit_length() > 14_000:
            return f"<a whole number of {x.bit_length():,} bits>"
        return super().repr_int(x, level)


def shown_value(value: object, limit: int = 80) -> str:
    """Return a value for a message: its ``repr`` on one line, shortened if it is long.

    Args:
        value: Any value, such as an invalid one.
        limit: Maximum number of characters; the middle of a longer text is omitted.
    """
    text = " ".join(_Shown(limit).repr(value).splitlines())
    tail = limit // 3
    return text if len(text) <= limit else f"{text[: limit - tail - 3]}...{text[-tail:]}"


def closest(word: str, words: Iterable[str]) -> str | None:
    """Return the word that is closest to another one, in any letters; None if none is close."""
    lower = {known.lower(): known for known in words}
    near = get_close_matches(word[:100].lower(), lower, n=1, cutoff=0.5)
    return lower[near[0]] if near else None


LONG_LIST, WORDS_SHOWN = 12, 3  # words of a list that is cut, and those that are left


def not_one_of(value: object, allowed: Iterable[str]) -> str:
    """Return a clause that a value is not an allowed word, with the closest allowed one.

    A long list is cut if there is a close one.

    Returns:
        A clause such as ``'projection' is not one of pad, proj, omit (did you mean 'proj'?)``.
    """
    words = list(allowed)
    near = closest(value, words) if isinstance(value, str) else None
    hint = "" if near is None else f" (did you mean {near!r}?)"
    if hint and len(words) > LONG_LIST:
        words = [*words[:WORDS_SHOWN], "..."]
    return f"{shown_value(value)} is not one of {', '.join(words)}{hint}"


def refuse_unknown_keys(
    keys: Iterable[str], allowed: Iterable[str], what: str, error: type[SkipSearchError]
) -> None:
    """Raise an error for the first unknown key, with the closest allowed one.

    Args:
        keys: Given keys.
        allowed: Known keys.
        what: Name of the value that the keys belong to, such as ``design``.
        error: Class of the error to raise.
    """
    known = list(allowed)
    for key in keys:
        if key not in known:
            raise error(f"unknown key of a {what}: {not_one_of(key, known)}")


def reason(problem: Exception) -> str:
    """Return the beginning of an external error's message, on one line."""
    return one_line(f"{type(problem).__name__}: {problem}")


def one_line(text: str) -> str:
    """Return the beginning of an external text, on one line."""
    text = " ".join(text.split())
    return text if len(text) <= 160 else f"{text[:156]} ..."


def counted(number: int, noun: str, plural: str = "") -> str:
    """Return a number with its noun: ``1 epoch``, ``2,000 epochs``, ``2 classes``.

    Args:
        number: Number of things.
        noun: Noun in the singular.
        plural: Noun in the plural, if it is not the singular with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
