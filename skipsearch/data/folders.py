"""A folder of images, with one folder per class, and with or without folders of the splits."""

import os
import unicodedata
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from skipsearch.data.images import Split
from skipsearch.data.labels import no_class
from skipsearch.data.memory import require_memory
from skipsearch.data.notes import Notes, count
from skipsearch.data.paths import require_utf8
from skipsearch.data.pictures import open_picture
from skipsearch.data.source import Read
from skipsearch.data.words import SPLITS, split_of, splits_within
from skipsearch.errors import DataError, not_one_of

EXPECTED = "expected CLASS/*.png, or train/CLASS/*.png beside test and val"

IMAGE_SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".gif", ".bmp", ".dib"),
    *(".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
)
# Hidden, like names that start with a dot: folders that systems add to shared files.
HIDDEN = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")


@dataclass(frozen=True)
class _Inside:
    """Content of a folder: folders and images in order, and the numbers of other files."""

    folders: list[Path]
    images: list[Path]
    others: Counter[str]
    hidden: int


@dataclass
class _Passed:
    """Numbers of skipped files so far."""

    files: Counter[str] = field(default_factory=Counter)
    outside: int = 0
    hidden: int = 0

    def add(self, inside: _Inside, outside: int = 0) -> None:
        self.files += inside.others
        self.hidden += inside.hidden
        self.outside += outside


def read_folder(folder: Path, image_size: int | None) -> Read:
    """Read a folder of images.

    Args:
        folder: Folder with a folder for each class, or for each split with classes inside.
        image_size: Side of the square images in pixels.

    Raises:
        DataError: If it has another structure, or an image cannot be read.
    """
    if image_size is None:
        raise DataError(f"{folder}: a folder of images needs image_size, their side in pixels")
    passed = _Passed()
    top = _look_into(folder)
    places = _places(folder, top)
    if places["train"] != folder:
        passed.add(top, outside=len(top.images))
    class_names = _class_names(places["train"])
    files = {split: _files_of_split(place, class_names, passed) for split, place in places.items()}
    number = sum(len(paths) for of_split in files.values() for paths in of_split)
    require_memory(
        2 * number * 3 * image_size**2,  # twice, for the division into splits
        f"{folder}: {number:,} images of 3 x {image_size} x {image_size} bytes",
        "give a smaller image_size",
    )
    parts, notes = (
        {},
        Notes(passed_over=dict(passed.files), outside=passed.outside, hidden=passed.hidden),
    )
    for split, of_split in files.items():
        parts[split], animated, transparent = _read_files(of_split, image_size)
        notes = replace(
            notes,
            animated=notes.animated + animated,
            transparent=notes.transparent + transparent,
        )
    return Read(
        parts=parts,
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the images in {folder}",
        notes=notes,
    )


def _places(folder: Path, inside: _Inside) -> dict[str, Path]:
    """Return the folder of each split; without splits, the folder itself as "train"."""
    if not inside.folders:
        what = (
            f"{count(len(inside.images), 'image')} but no folders"
            if inside.images
            else "no folders"
        )
        raise DataError(f"{folder}: {what} in it, {EXPECTED}")
    found: dict[str, Path] = {}
    unknown: list[Path] = []
    for place in inside.folders:
        split = split_of(place.name)
        if split is None:
            unknown.append(place)
        elif split in found:
            raise DataError(
                f"{folder}: both {found[split].name} and {place.name} are there, which both mean "
                f"{split}: expected one of them"
            )
        else:
            found[split] = place
    if not found:
        # Otherwise a network would learn the split of a picture.
        like = {place.name: splits_within(place.name) for place in unknown}
        if len(set().union(*like.values())) > 1:
            named = ", ".join(name for name, splits in like.items() if splits)
            raise DataError(
                f"{folder}: {named} look like splits, expected {', '.join(SPLITS)}: rename them"
            )
        return {"train": folder}
    if unknown:
        raise DataError(
            f"{folder}: {not_one_of(unknown[0].name, SPLITS)}, and classes cannot lie beside "
            f"splits such as {next(iter(found.values())).name}; {EXPECTED} (rename a class that is "
            "called like a split)"
        )
    if "train" not in found:
        names = ", ".join(place.name for place in found.values())
        raise DataError(f"{folder}: {names} but no train folder, {EXPECTED}")
    return {split: found[split] for split in SPLITS if split in found}


def _class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the classes of the training images."""
    inside = _look_into(folder)
    names = tuple(place.name for place in inside.folders)
    if len(names) < 2:
        found = count(len(names), "class folder")
        raise DataError(f"{folder}: {found}, expected 2 or more{_deeper(inside.folders)}")
    alike: dict[str, str] = {}
    for name in names:
        require_utf8(name, f"{folder}: a class folder")
        key = unicodedata.normalize("NFC", name).casefold()
        if key in alike:
            raise DataError(
                f"{folder}: the classes {alike[key]!r} and {name!r} differ only in spelling: join "
                "or rename them"
            )
        alike[key] = name
    return names


def _deeper(folders: list[Path]) -> str:
    """Return a hint at a single folder that contains several folders."""
    if len(folders) == 1 and len(_look_into(folders[0]).folders) > 1:
        return f" (did you mean {folders[0]}?)"
    return ""


def _files_of_split(
    folder: Path, class_names: tuple[str, ...], passed: _Passed
) -> list[list[Path]]:
    """Return the files of each class of a split."""
    inside = _look_into(folder)
    passed.add(inside, outside=len(inside.images))
    for place in inside.folders:
        if place.name not in class_names:
            raise DataError(f"{place}: {no_class(place.name, class_names)}")
    files = []
    for name in class_names:
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: no images of this class, the folder is missing")
        images = sorted(_images_below(folder / name, passed, (), False))
        if not images:
            raise DataError(
                f"{folder / name}: no images of this class, expected files that end with one of "
                f"{' '.join(IMAGE_SUFFIXES)}"
            )
        files.append(images)
    return files


def _images_below(
    folder: Path, passed: _Passed, above: tuple[tuple[int, int], ...], is_class: bool
) -> list[Path]:
    """Return the images of a class, at any depth.

    Folders inside a class are read as well. Two or more of them without an image beside them raise
    an error, since they may be the real classes; a single one has the same meaning in both cases.
    """
    status = folder.stat()
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise DataError(f"{folder}: a link to a folder that it lies in itself")
    inside = _look_into(folder)
    passed.add(inside)
    is_class = is_class or bool(inside.images)
    images, filled = list(inside.images), []
    for place in inside.folders:
        deeper = _images_below(place, passed, (*above, here), is_class)
        if deeper and split_of(place.name) is not None:
            raise DataError(f"{place}: a split inside a class, {EXPECTED}")
        images += deeper
        filled += [place.name] if deeper else []
    if not is_class and len(filled) > 1:
        raise DataError(
            f"{folder}: {len(filled)} folders of images ({', '.join(filled[:2])}, ...) where the "
            f"images of one class should lie, {EXPECTED}"
        )
    return images


def _look_into(folder: Path) -> _Inside:
    """Return the content of a folder."""
    folders, images, others, hidden = [], [], Counter[str](), 0
    with os.scandir(folder) as entries:
        ordered = sorted(entries, key=lambda entry: entry.name)
    for entry in ordered:
        path = folder / entry.name
        if entry.name.startswith(".") or entry.name in HIDDEN:
            hidden += 1
        elif entry.is_dir():
            folders.append(path)
        elif not entry.is_file():
            raise DataError(f"{path}: neither a file nor a folder, or a link to nothing")
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            images.append(path)
        else:
            others[path.suffix.lower()] += 1
    return _Inside(folders, images, others, hidden)


def _read_files(files: list[list[Path]], image_size: int) -> tuple[Split, int, int]:
    """Read the files of each class; also return the numbers of animated and transparent ones."""
    paths = [path for of_class in files for path in of_class]
    labels = [label for label, of_class in enumerate(files) for _ in of_class]
    animated = transparent = 0
    # Filled in place: a list of images and its stack would need twice the memory.
    images = torch.empty(len(paths), 3, image_size, image_size, dtype=torch.uint8)
    with ThreadPoolExecutor() as pool:
        read = pool.map(lambda path: open_picture(path, 3, image_size), paths)
        for index, picture in enumerate(read):
            images[index] = picture.pixels
            animated += picture.animated
            transparent += picture.transparent
    return Split(images, torch.tensor(labels)), animated, transparent
