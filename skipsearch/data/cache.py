"""Folders of images that are decoded once: a cache of their pixels, checked by the files' stamps.

A folder in the cache holds an .npy file for the images and for the labels or masks of each split,
and ``cache.json``. It is valid if the names and stamps of all files of the data set, and of its
own, are those at the time of reading.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL

from skipsearch.data.load_options import LoadOptions
from skipsearch.data.looking import is_hidden
from skipsearch.data.mapped import Images, Mapped, Stamp
from skipsearch.data.memory import is_resident, placed, require_memory, shown_bytes
from skipsearch.data.notes import Notes
from skipsearch.data.npy_headers import array_in
from skipsearch.data.paths import cache_home, path_of
from skipsearch.data.pruning import FILE, PART, lock_of, locked
from skipsearch.data.reading import Reading
from skipsearch.data.rooms import Files, Memory
from skipsearch.data.source import Read
from skipsearch.data.split import Split
from skipsearch.errors import ChangedError, DataError, escaped
from skipsearch.plan import Size
from skipsearch.task import TASKS

VERSION = 3  # of the format; with a change of what is decoded, it must be raised
NAME_SHOWN = 50  # characters of the name of a folder in that of its cache
LEAST_BYTES = 2**24  # of the files of a folder; smaller ones are read in a moment, without a cache


def read_folder_once(
    folder: Path,
    size: Size | None,
    what: str,
    read: Callable[[Reading], Read],
    options: LoadOptions,
) -> Read:
    """Read a folder from the cache, or decode it into the cache.

    Args:
        folder: Folder of images.
        size: Height and width that images are resized to.
        what: What is read of the folder, as a part of the key.
        read: Function that reads and decodes it.
        options: How the data are to be loaded.

    Raises:
        DataError: If the folder cannot be read, or there is not enough memory.
    """
    listed = _listing(folder)
    if options.cache and (listed.size >= LEAST_BYTES or options.in_memory is False):
        try:
            return _cached(folder, _key(folder, size, what), listed.digest, read, options)
        except OSError as error:  # an error of reading the folder itself is raised again below
            where = f"{error.filename}: " if error.filename else ""
            note = f"not cached, so decoded each time ({where}{error.strerror or error})"
    else:
        note = ""
    if options.in_memory is False:
        why = note or "the cache is switched off"
        raise DataError(f"{folder}: cannot be read from a file: {why}")
    found = read(Reading(folder, Memory(), skip_damaged=options.skip_damaged))
    return replace(found, place=note)


def _cached(
    folder: Path, key: str, listing: str, read: Callable[[Reading], Read], options: LoadOptions
) -> Read:
    """Return a folder from the cache, after decoding it if necessary.

    Raises:
        DataError: If the folder cannot be read, or there is not enough memory.
        OSError: If the cache cannot be written.
    """
    root = _root(options.root)
    if root.is_relative_to(folder):
        raise OSError(errno.EINVAL, "inside the folder of images", str(root))
    root.mkdir(parents=True, exist_ok=True)
    place = root / key
    # What fails without the right to write, or since files are removed by hand, is made anew.
    with contextlib.suppress(OSError, ChangedError), locked(lock_of(place), shared=True):
        if values := _valid(place, listing, options):
            return _open(place, values, options.in_memory)
    with locked(lock_of(place)):
        values = _valid(place, listing, options)  # another process may have made it meanwhile
        if values is None:
            _make(folder, place, listing, read, options)
            values = json.loads((place / FILE).read_text())
        return _open(place, values, options.in_memory)


def _root(root: str | Path | None) -> Path:
    try:
        return path_of(cache_home() if root is None else root, "data-root") / "decoded"
    except DataError as error:  # no home folder
        raise OSError(errno.ENOENT, str(error)) from None


# --- what is valid -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Listing:
    """Digest of the names and stamps of all files below a folder, and their whole size."""

    digest: str
    size: int


def _listing(folder: Path) -> _Listing:
    digest, total = hashlib.blake2b(digest_size=16), 0
    # Another version of the decoder may give other pixels.
    digest.update(f"{VERSION} Pillow {PIL.__version__}".encode())
    for name, stamp in _files(folder, "", ()):
        text = f"{name}\0{' '.join(map(str, stamp or ()))}\0"
        digest.update(text.encode(errors="surrogateescape"))
        total += stamp.size if stamp else 0
    return _Listing(digest.hexdigest(), total)


def _files(
    folder: Path, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, Stamp | None]]:
    """Yield name and stamp of each file below a folder; names alone of folders and hidden files."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        return  # a circle of links, of which the reader complains
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        name = f"{prefix}{entry.name}"
        if is_hidden(entry.name):
            yield name, None
        elif entry.is_dir():
            yield f"{name}/", None
            yield from _files(Path(entry.path), f"{name}/", (*above, here))
        elif entry.is_file():
            yield name, Stamp.of_status(entry.stat())


def _key(folder: Path, size: Size | None, what: str) -> str:
    """Return the name of a folder in the cache."""
    options = json.dumps([str(folder), size, what])
    digest = hashlib.blake2b(options.encode(), digest_size=6).hexdigest()
    return f"{escaped(folder.name)[:NAME_SHOWN]}-{digest}"


def _valid(place: Path, listing: str, options: LoadOptions) -> dict[str, Any] | None:
    """Return the description of a folder in the cache; None if it is missing or stale."""
    try:
        values: dict[str, Any] = json.loads((place / FILE).read_text())
        stamps = {name: list(Stamp.of(place / name)) for name in values["files"]}
        if values["listing"] != listing or values["files"] != stamps:
            return None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    # Without skip_damaged, the damaged file must be named.
    return values if options.skip_damaged or not values["notes"]["damaged"] else None


# --- its content ---------------------------------------------------------------------------------


def _make(
    folder: Path, place: Path, listing: str, read: Callable[[Reading], Read], options: LoadOptions
) -> None:
    """Decode a folder into the cache, under a temporary name until it is complete."""
    part = place.with_name(f"{place.name}{PART}")
    shutil.rmtree(part, ignore_errors=True)  # of a process that was killed
    part.mkdir()
    try:
        room = Files(part)
        found = read(Reading(folder, room, skip_damaged=options.skip_damaged))
        for name, split in found.parts.items():
            if split.labels.ndim == 1:
                np.save(part / f"{name}_labels.npy", split.class_labels.numpy())
        room.flush()
        files = {path.name: Stamp.of(path) for path in part.iterdir()}
        values = {
            "folder": str(folder),
            "listing": listing,
            "files": files,
            "parts": {name: len(split) for name, split in found.parts.items()},
            "class_names": found.class_names,
            "augmentation": found.augmentation,
            "source": found.source,
            "task": found.task.name,
            "notes": found.notes.to_dict(),
            "groups": None if found.groups is None else found.groups.tolist(),
        }
        (part / FILE).write_text(json.dumps(values, indent=1))
        del found
        shutil.rmtree(place, ignore_errors=True)
        part.rename(place)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _open(place: Path, values: dict[str, Any], in_memory: bool | None) -> Read:
    """Return the content of a folder in the cache, in memory or mapped."""
    with contextlib.suppress(OSError):  # the cache of another user
        os.utime(place / FILE)
    task = TASKS[values["task"]]
    stamps = {place / name: Stamp(*stamp) for name, stamp in values["files"].items()}
    parts = {}
    for name, number in values["parts"].items():
        images = _mapped(place / f"{name}_images.npy", number, stamps)
        labels: Images
        if task.per_pixel:
            labels = _mapped(place / f"{name}_masks.npy", number, stamps)
        else:
            labels = _mapped(place / f"{name}_labels.npy", number, stamps)[:]
        parts[name] = Split(images, labels)
        for each in (images, labels):
            if isinstance(each, Mapped):
                each.open()  # now, so that no other process removes the folder meanwhile
    size = sum(split.nbytes for split in parts.values())
    if is_resident(size, in_memory):
        require_memory(2 * size, f"{values['folder']}: its images", "leave them in the cache")
        parts = {name: Split(each.images[:], each.labels[:]) for name, each in parts.items()}
        where = f"{shown_bytes(size)} in memory and in each worker of a search, decoded in {place}"
    else:
        where = placed(size, place, in_memory)
    return Read(
        parts=parts,
        class_names=tuple(values["class_names"]),
        augmentation=values["augmentation"],
        source=values["source"],
        notes=Notes.from_dict(values["notes"]),
        groups=None if values["groups"] is None else np.array(values["groups"]),
        task=task,
        place=where,
    )


def _mapped(path: Path, number: int, stamps: Mapping[Path, Stamp]) -> Mapped:
    """Return the first items of an array in the cache, as it was when it was made."""
    file = array_in(path)
    if isinstance(file, str):
        raise OSError(errno.EINVAL, f"not an array of the cache, since {file}", str(path))
    return Mapped((replace(file, stamp=stamps[path], shape=(number, *file.shape[1:])),))
