"""Conversion of users' paths to absolute paths, with checks."""

import os
from pathlib import Path

from skipsearch.errors import DataError, shown_value


def path_of(value: str | Path, what: str) -> Path:
    """Return an absolute path, or raise an error for an invalid one.

    Args:
        value: Given path; ~ is the home folder.
        what: Name of the argument, for messages.

    Raises:
        DataError: If it is empty, not UTF-8, not a text, or requires a missing home folder.
    """
    if not isinstance(value, str | os.PathLike):
        raise DataError(f"{what}: {shown_value(value)} is neither a text nor a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"{what}: {text!r} is not a path")
    require_utf8(text, what)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # from pathlib, for a user without a home folder
        raise DataError(
            f"{what}: {text} needs a home folder, and there is none: give a path without ~, "
            "or set HOME"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{what}: {text} needs the working directory, which is gone") from None


def check_name(value: object) -> None:
    """Check that data are given by a name or a path.

    Raises:
        DataError: If they are values, such as arrays.
    """
    if not isinstance(value, str | os.PathLike):
        raise DataError(
            f"data: {shown_value(value, 40)} is neither a text nor a path: give arrays as"
            " Data.from_arrays(images, labels), and a dataset as Data.from_dataset(dataset)"
        )


def cache_home() -> Path:
    """Return the folder of the package in the user's caches, ~/.cache unless XDG_CACHE_HOME is set.

    As in the XDG base directory specification, a relative path in this variable is ignored.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path("~/.cache")) / "skipsearch"


def require_utf8(text: str, what: str) -> None:
    """Check that the name of a file is UTF-8, so that it can be recorded and shown.

    Raises:
        DataError: If it is not UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what}: the name {text!a} is not UTF-8: rename it") from None
