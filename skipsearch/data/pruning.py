"""The limit of the cache: the least recently used decoded folders are removed for a new one."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from skipsearch.data.memory import shown_bytes
from skipsearch.errors import counted

FILE = "cache.json"  # its time is that of the last use of its folder
PART = ".part"  # suffix of a folder that is being made, or was when its process was killed
SHARE = 0.5  # of the disk space that would be free without the cache


class _Entry(NamedTuple):
    """A decoded folder, first by the time of its last use."""

    used: float
    place: Path
    size: int


def make_room(part: Path, needed: int) -> None:
    """Remove decoded folders from the cache until it takes at most ``SHARE`` with a new one.

    The least recently used are removed first. Those that a process has open (a shared lock on their
    arrays), or is making or opening (a lock on their name), are kept, as are those of other users.
    Nothing is removed for a folder that would not fit anyway.

    Args:
        part: Folder that is being made. The one that it replaces does not count.
        needed: Number of bytes that it needs.
    """
    root, replaced = part.parent, part.with_name(part.name.removesuffix(PART))
    entries = sorted(entry for entry in _entries(root) if entry.place not in (part, replaced))
    held = sum(entry.size for entry in entries)
    free = shutil.disk_usage(root).free
    if needed > free + held:
        return
    limit = SHARE * (free + held)
    removed = []
    for entry in entries:
        if held + needed <= limit:
            break
        if _remove(entry.place):
            held -= entry.size
            removed.append(entry)
    if removed:
        size = shown_bytes(sum(entry.size for entry in removed))
        what = f"{counted(len(removed), 'folder')} ({size}), least recently used first"
        names = ", ".join(entry.place.name for entry in removed)
        print(f"cache: removed {what}: {names}", file=sys.stderr)


def _entries(root: Path) -> Iterator[_Entry]:
    for place in root.iterdir():
        with contextlib.suppress(OSError):  # removed meanwhile
            if place.is_dir() and lock_of(place).exists():  # or else it is not of the cache
                file = place / FILE
                used = file.stat().st_mtime if file.exists() else 0.0
                yield _Entry(used, place, sum(path.stat().st_size for path in place.iterdir()))


def _remove(place: Path) -> bool:
    """Remove a folder, and return whether it could be removed and is not in use."""
    try:
        with contextlib.ExitStack() as locks:
            locks.enter_context(locked(lock_of(place), wait=False))
            for path in place.glob("*.npy"):
                file = locks.enter_context(path.open("r+b"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(place)
    except OSError:
        return False
    return True


def lock_of(place: Path) -> Path:
    """Return the file whose lock a process holds that makes, opens or removes a folder."""
    return place.with_name(f"{place.name.removesuffix(PART)}.lock")


@contextlib.contextmanager
def locked(file: Path, *, wait: bool = True, shared: bool = False) -> Iterator[None]:
    """Lock a file, so that a folder of the cache is made, opened or removed by one process.

    Args:
        file: File of `lock_of`.
        wait: Whether to wait for other processes.
        shared: Whether others can open the folder as well; the file must exist.

    Raises:
        OSError: If it is locked by another process, without waiting, or cannot be opened.
    """
    with file.open("r" if shared else "w") as lock:
        kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(lock, kind | (0 if wait else fcntl.LOCK_NB))
        yield
