"""Valid locations of a run and its files, checked before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

from skipsearch.errors import RunError
from skipsearch.searching.storage import LONGEST_PATH

STUDY = "study.db"
CONFIRMATIONS = "confirm.db"  # separate study of the trainings with new seeds
CONFIRM = "confirm.yaml"  # the leaders that are trained again, and their number of seeds
GALLERIES = "galleries"  # predictions of exported designs, as DESIGN-RECIPE.npz


def check_folder(out: Path) -> None:
    """Check the path of a run folder.

    Args:
        out: Folder, which may not exist yet.

    Raises:
        RunError: If it is a file, or a path that the system or SQLite does not accept.
    """
    shown = str(out)
    if len(shown) > 200 or not shown.isprintable():
        shown = repr(shown if len(shown) <= 200 else shown[:60] + "...")
    try:
        size = len(os.fsencode(out.absolute() / CONFIRMATIONS))
        if size > LONGEST_PATH:
            raise RunError(
                f"out: {shown}: its files have paths of {size} bytes; SQLite takes up to"
                f" {LONGEST_PATH}"
            )
        if os.path.lexists(out) and not out.is_dir():
            raise RunError(f"{out}: not a folder")
        os.stat(out)
    except FileNotFoundError:
        pass
    except UnicodeEncodeError:
        raise RunError(f"out: {shown} is no path in the encoding of this system") from None
    except RunError:
        raise
    except OSError as problem:
        raise RunError(f"out: {shown}: {problem.strerror}") from None
    except ValueError as problem:  # a null character
        raise RunError(f"out: {shown} is no path: {problem}") from None


def check_outside(out: Path, data: Path | None) -> None:
    """Check that a folder is not inside the data, where its files would be read as images.

    Args:
        out: Output folder.
        data: Folder of the data, if there is one.

    Raises:
        RunError: If it is inside, also through links and ``..``.
    """
    if data is not None and data.is_dir() and out.resolve().is_relative_to(data.resolve()):
        raise RunError(f"out: {out} is inside the data {data}: give a folder elsewhere")
