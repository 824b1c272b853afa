"""The folder of a session: private, locked while its driver lives, swept by the next one if not.

A driver that is killed leaves its folder behind, and Ray's agents, which outlive it by a minute or
more. The kernel gives the lock free at the driver's death: an unlocked folder has no driver.
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

ROOT = Path("/tmp")  # where TMPDIR is too long
LONGEST_ROOT = 16  # bytes: what Ray appends ends in a Unix socket, whose path may have 107
PREFIX = "skipsearch-ray-"
PATIENCE = 5.0  # seconds for killed processes to be gone
LOCKING_SECONDS = 60.0  # seconds within which a folder is surely locked


@contextlib.contextmanager
def session_folder() -> Iterator[Path]:
    """Make a folder that only this user can enter; on leaving, end what Ray left and remove it.

    Folders of drivers that were killed go first; never one whose driver lives, or another user's.
    """
    sweep()
    root = temporary_root()
    # Locked before it has the name that others look for: none of them sees it unlocked.
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
    """Return where sessions have their folders: TMPDIR, or /tmp where TMPDIR is too long for Ray.

    The latter is said on standard error.
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
    """Remove the folders of drivers that were killed, and end what Ray left of them."""
    roots = {ROOT, Path(tempfile.gettempdir())}
    for path in (
        path for root in roots for path in (*root.glob(PREFIX + "*"), *_never_locked(root))
    ):
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        except OSError:
            continue  # Another user's, no folder, or gone.
        try:
            if os.fstat(lock).st_uid == os.getuid():
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path)
        except BlockingIOError:
            pass  # Its driver lives.
        finally:
            os.close(lock)


def _never_locked(root: Path) -> Iterator[Path]:
    """Find folders whose driver was killed before it had locked them."""
    for path in root.glob(f".{PREFIX}*"):
        with contextlib.suppress(OSError):
            # A file of the future is old too: the clock was set since.
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
    """Find Ray's workers and agents of a session: so titled, with a log open in its folder.

    Its servers need no search: they end with the driver, by the kernel's hand. Where there is no
    /proc none is found, and they end by themselves.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # It has ended, or is another user's.
            if not (process / "cmdline").read_bytes().startswith(b"ray::"):
                continue
            files = (os.readlink(file) for file in (process / "fd").iterdir())
            if any(file.startswith(f"{folder}/") for file in files):
                found.append(int(process.name))
    return found
