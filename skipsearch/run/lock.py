"""The lock of a run folder: one driver at a time, without traces of failed attempts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from skipsearch.errors import RunError

LOCK = ".lock"


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder, which is created if it is missing.

    After an error, a new lock file and the new folders for it, if empty, are removed again.

    Args:
        folder: Run folder.

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
                # Removed while the lock is held, so that others waiting for the file notice.
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
