"""Paths as users give them: absolute, or refused."""

import os
from pathlib import Path

from skipsearch.errors import DataError


def path_of(value: str | Path, what: str) -> Path:
    """Return an absolute path, or refuse what cannot be one.

    Args:
        value: The path as it was given; ~ is the home folder.
        what: The argument that it was given for.

    Raises:
        DataError: It is empty, not UTF-8, no text at all, or needs a home folder that is missing.
    """
    if not isinstance(value, str | os.PathLike):
        raise DataError(f"{what}: {value!r} is neither a text nor a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"{what}: {text!r} is not a path")
    require_utf8(text, what)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # pathlib's, of a user who has none
        raise DataError(
            f"{what}: {text} needs a home folder, and there is none: give a path without ~, "
            "or set HOME"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{what}: {text} needs the working directory, which is gone") from None


def require_utf8(text: str, what: str) -> None:
    """Refuse a name of a file that is not UTF-8, since it could neither be recorded nor shown.

    Raises:
        DataError: It is not.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what}: the name {text!a} is not UTF-8: rename it") from None
