"""The folder of a session: private, and locked while its driver is alive.

A killed driver leaves its folder, which the next driver removes, and Ray's agents, which survive it
by a minute or more. The kernel releases the lock when the driver dies, so an unlocked folder has no
driver.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/tmp")  # if TMPDIR is too long
LONGEST_ROOT = 16  # bytes: Ray appends the name of a Unix socket, whose path may have 107
PREFIX = "skipsearch-ray-"
PATIENCE = 5.0  # maximum seconds to wait until killed processes have ended
LOCKING_SECONDS = 60.0  # seconds within which a new folder is locked


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Create a private folder; on exit, end Ray's remaining processes and remove it.

    Folders of killed drivers are removed first, but not those of living drivers or other users.
    """
    sweep()
    root = temporary_root()
    # Locked before it has its final name: no other driver sees it unlocked.
    young = Path(tempfile.mkdtemp(prefix="." + PREFIX, dir=root))
    lock = os.open(young, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder = young.rename(root / young.name.removeprefix("."))
        try:
            yield folder
        finally:
            _remove(folder)
    finally:
        os.close(lock)


def temporary_root() -> Path:
    """Return the parent of session folders: TMPDIR, or /tmp if TMPDIR is too long for Ray.

    The latter is reported on standard error.
    """
    named = os.environ.get("TMPDIR")
    if not named:
        return ROOT
    root = Path(tempfile.gettempdir())
    if len(os.fsencode(root)) <= LONGEST_ROOT:
        return root
    print(
        f"temporary files of Ray go to {ROOT}: its sockets leave {LONGEST_ROOT} bytes for the path"
        f" of TMPDIR, which has {len(os.fsencode(root))}",
        file=sys.stderr,
    )
    return ROOT


def sweep() -> None:
    """Remove the folders of killed drivers, and end Ray's remaining processes."""
    roots = {ROOT, Path(tempfile.gettempdir())}
    for path in (
        path for root in roots for path in (*root.glob(PREFIX + "*"), *_never_locked(root))
    ):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # Of another user, not a folder, or already removed.
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
        except BlockingIOError:
            pass  # Its driver is alive.
        finally:
            os.close(lock)


def _never_locked(root: Path) -> Iterator[Path]:
    """Yield folders whose driver was killed before it locked them."""
    for path in root.glob(f".{PREFIX}*"):
        with contextlib.suppress(OSError):
            # A time in the future is also old: the clock was changed after it.
            if abs(time.time() - path.stat().st_mtime) > LOCKING_SECONDS:
                yield path


def _remove(folder: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while (left := _workers(folder)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def _workers(folder: Path) -> list[int]:
    """Return Ray's workers and agents of a session, by their title and an open log in its folder.

    Ray's servers need no search, since the kernel ends them with the driver. Without /proc no
    process is found, and all end by themselves.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It has ended, or belongs to another user.
            if not (process / "cmdline").read_bytes().startswith(b"ray::"):
                continue
            files = (os.readlink(file) for file in (process / "fd").iterdir())
            if any(file.startswith(f"{folder}/") for file in files):
                found.append(int(process.name))
    return found
