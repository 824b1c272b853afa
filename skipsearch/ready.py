"""The ready search spaces, by name: in the package if installed as a wheel, else beside it."""

from __future__ import annotations

import re
from pathlib import Path

from skipsearch.errors import SpaceError, not_one_of

HERE = Path(__file__).parent
PLACES = (HERE / "search_spaces", HERE.parent / "search_spaces")


def ready_names() -> list[str]:
    """Return the names of the ready spaces, in alphabetical order."""
    return sorted(path.stem for place in PLACES for path in place.glob("*.yaml"))


def is_name(what: object) -> bool:
    """Return whether a value is the name of a ready space and not the path of a file.

    A name is a string without a suffix and without a folder; a ``Path`` is always a path.
    """
    return isinstance(what, str) and re.fullmatch(r"[\w-]+", what) is not None


def ready_path(name: str) -> Path:
    """Return the file of a ready space.

    Raises:
        SpaceError: If there is no space of that name.
    """
    for place in PLACES:
        if (place / f"{name}.yaml").is_file():
            return place / f"{name}.yaml"
    raise SpaceError(
        f"the ready space {not_one_of(name, ready_names())}; a file needs its suffix or its folder,"
        f" such as {name[:40]}.yaml or ./{name[:40]}"
    )
