"""The lock of a run folder: one driver at a time, and nothing is left of what is refused."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from skipsearch.errors import RunError

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; the folder is made where it is missing.

    Where an error ends this, the lock goes again, and so do the folders made for it, if empty.

    Args:
        folder: Of the run.

    Raises:
        RunError: If another driver holds it.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    new = not (folder / LOCK).exists()
    try:
        with FileLock(folder / LOCK, timeout=0):
            try:
                yield
            except BaseException:
                # While it is held: whoever waits for the file that goes sees that it is gone.
                if new:
                    (folder / LOCK).unlink(missing_ok=True)
                raise
    except Timeout:
        raise RunError(f"{folder}: another search is writing to this run folder") from None
    except BaseException:
        with contextlib.suppress(OSError):  # not empty: something was written
            for path in made:
                path.rmdir()
        raise
