"""The content of folders of images: the files that are read, and the numbers of other files."""

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from skipsearch.data.array_files import NPY
from skipsearch.data.notes import Notes
from skipsearch.data.words import split_of
from skipsearch.errors import DataError

EXPECTED = "expected CLASS/*.png, or train/CLASS/*.png beside test and val"

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
SUFFIXES = (*IMAGE_SUFFIXES, NPY)  # of all files that are read; .npy only without pictures

# Folders that operating systems add to shared files; hidden, like names that start with a dot.
HIDDEN = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


@dataclass(frozen=True)
class Inside:
    """Content of a folder: folders and images in order, and the numbers of other files."""

    folders: list[Path]
    images: list[Path]
    others: Counter[str]
    hidden: int


@dataclass
class Passed:
    """The numbers of skipped files so far, and the skipped folders."""

    files: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    hidden: int = 0
    skipped: list[str] = field(default_factory=list)

    def notes(self) -> Notes:
        """Return the numbers as notes."""
        return Notes(
            passed_over=dict(+self.files),
            outside=self.outside,
            hidden=self.hidden,
            folders=tuple(self.skipped),
        )

    def add(self, inside: Inside, outside: int = 0) -> None:
        """Add the skipped files of a folder; `outside` is the number of its skipped images."""
        self.files += inside.others
        self.hidden += inside.hidden
        self.outside += outside


def refuse_folder(path: Path) -> None:
    """Check that a path, where the file of an image is expected, is no folder.

    Raises:
        DataError: If it is a folder; the error has the pattern of the image files inside.
    """
    if not path.is_dir():
        return
    inside = look_into(path, SUFFIXES)
    below = [look_into(place, SUFFIXES) for place in inside.folders]
    files = inside.images or [file for each in below for file in each.images]
    if not files:
        raise DataError(
            f"{path}: a folder without images, expected files that end with one of"
            f" {' '.join(SUFFIXES)}"
        )
    pattern = path / ("*" if inside.images else "*/*")
    raise DataError(f"{path}: a folder, expected image files, such as {pattern}{files[0].suffix}")


def is_hidden(name: str) -> bool:
    """Return whether a file or folder of this name is hidden."""
    return name.startswith(".") or name in HIDDEN


def images_below(folder: Path, passed: Passed, is_class: bool) -> list[Path]:
    """Return the images of a class, at any depth: the pictures, or .npy files if there are none.

    An .npy file beside pictures, such as their features, counts as a skipped file.

    Folders inside a class are read as well. Two or more of them without an image beside them raise
    an error, since they may be the real classes; a single one has the same meaning in both cases.
    """
    for suffixes in (IMAGE_SUFFIXES, (NPY,)):
        found = Passed()
        images = _images_below(folder, suffixes, found, (), is_class)
        if images:
            break
    passed.files += found.files
    passed.hidden += found.hidden
    return images


def _images_below(
    folder: Path,
    suffixes: tuple[str, ...],
    passed: Passed,
    above: tuple[tuple[int, int], ...],
    is_class: bool,
) -> list[Path]:
    """Return the images of some suffixes; `above` are the folders that are being read."""
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(f"{folder}: a link to a folder that it lies in itself")
    inside = look_into(folder, suffixes)
    passed.add(inside)
    is_class = is_class or bool(inside.images)
    images, filled = list(inside.images), []
    for place in inside.folders:
        deeper = _images_below(place, suffixes, passed, (*above, here), is_class)
        if deeper and split_of(place.name) is not None:
            raise DataError(f"{place}: a split inside a class, {EXPECTED}")
        images += deeper
        filled += [place.name] if deeper else []
    if not is_class and len(filled) > 1:
        raise DataError(
            f"{folder}: {len(filled)} folders of images ({', '.join(filled[:2])}, ...) where the "
            f"images of one class should lie, {EXPECTED}, or group_folders if they are groups"
        )
    return images


def look_into(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Inside:
    """Return the content of a folder; files of other suffixes are no images."""
    folders, images, others, hidden = [], [], Counter[str](), 0
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = folder / entry.name
        if is_hidden(entry.name):
            hidden += 1
        elif entry.is_dir():
            folders.append(path)
        elif not entry.is_file():
            raise DataError(f"{path}: neither a file nor a folder, or a link to nothing")
        elif path.suffix.lower() in suffixes:
            images.append(path)
        else:
            others[path.suffix.lower()] += 1
    return Inside(folders, images, others, hidden)
