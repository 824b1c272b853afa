"""A folder of images, with one folder per class, and with or without folders of the splits."""

import unicodedata
from collections.abc import Mapping, Sequence
from itertools import chain, combinations
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.labels import no_class
from skipsearch.data.looking import (
    EXPECTED,
    SUFFIXES,
    Inside,
    Passed,
    images_below,
    look_into,
)
from skipsearch.data.paths import require_utf8
from skipsearch.data.pictures import Header
from skipsearch.data.reading import Reading, format_of
from skipsearch.data.source import Array, Read
from skipsearch.data.split import Split
from skipsearch.data.words import SPLITS, split_of, splits_within
from skipsearch.errors import DataError, counted, not_one_of
from skipsearch.plan import Size

CHANNELS = 3  # of 8-bit pictures, also of grey ones


def read_folder(reading: Reading, size: Size | None, group_folders: bool = False) -> Read:
    """Read a folder of images.

    Args:
        reading: Reading of a folder with a folder for each class, or for each split with classes
            inside.
        size: Height and width of the images; None to keep theirs, if they are not 8-bit pictures.
        group_folders: Whether the folders inside a class are groups of images.

    Raises:
        DataError: If it has another structure, or an image cannot be read.
    """
    folder, passed = reading.folder, Passed()
    top = look_into(folder)
    places = split_places(folder, top)
    if places["train"] != folder:
        passed.add(top, outside=len(top.images))
    class_names = _class_names(places["train"])
    files = {
        split: _files_of_split(place, class_names, passed, group_folders)
        for split, place in places.items()
    }
    paths = {split: list(chain.from_iterable(of_split)) for split, of_split in files.items()}
    headers = _first_header(reading, paths["train"])
    if size is None:
        if not all(header.is_array for header in headers.values()):
            raise DataError(f"{folder}: a folder of images needs image_size, their side in pixels")
        headers = reading.headers(paths)
    wanted = format_of(headers, size, CHANNELS)
    images, notes = reading.images(reading.sound(paths), wanted, passed.notes())
    damaged = set(reading.damaged)
    files = {
        split: [[path for path in of_class if path not in damaged] for of_class in of_split]
        for split, of_split in files.items()
    }
    _check_classes(folder, files, class_names)
    return Read(
        parts={split: Split(images[split], _labels(of_split)) for split, of_split in files.items()},
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the images in {folder}",
        notes=notes,
        groups=_groups(folder, places, files) if group_folders else None,
    )


def _groups(
    folder: Path, places: Mapping[str, Path], files: Mapping[str, list[list[Path]]]
) -> Array:
    """Return the group of each training image.

    Raises:
        DataError: If a group is in several splits, or an image in none.
    """
    groups = {split: _groups_of_split(places[split], of_split) for split, of_split in files.items()}
    for one, other in combinations(groups, 2):
        if shared := set(groups[one]) & set(groups[other]):
            raise DataError(
                f"{folder}: the group {min(shared)!r} is in {one} and in {other}, expected all its"
                " images in one split"
            )
    return np.array(groups["train"])


def _groups_of_split(place: Path, files: list[list[Path]]) -> list[str]:
    """Return the group of each image of a split: the folder that it lies in, inside its class."""
    groups = []
    for path in chain.from_iterable(files):
        inside = path.relative_to(place).parts
        if len(inside) < 3:  # class, group, file
            raise DataError(
                f"{path}: lies directly in the folder of its class, expected a folder for each"
                " group (group_folders)"
            )
        groups.append(inside[1])
    return groups


def split_places(folder: Path, inside: Inside) -> dict[str, Path]:
    """Return the folder of each split; if there are no splits, the folder itself as "train"."""
    if not inside.folders:
        what = (
            f"{counted(len(inside.images), 'image')} but no folders"
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
        # Otherwise the splits would be taken for classes.
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
    inside = look_into(folder)
    names = tuple(place.name for place in inside.folders)
    if len(names) < 2:
        found = counted(len(names), "class folder")
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
    """Return a hint if there is a single folder that contains several folders."""
    if len(folders) == 1 and len(look_into(folders[0]).folders) > 1:
        return f" (did you mean {folders[0]}?)"
    return ""


def _files_of_split(
    folder: Path, class_names: tuple[str, ...], passed: Passed, group_folders: bool
) -> list[list[Path]]:
    """Return the files of each class of a split."""
    inside = look_into(folder)
    passed.add(inside, outside=len(inside.images))
    for place in inside.folders:
        if place.name not in class_names:
            raise DataError(f"{place}: {no_class(place.name, class_names)}")
    files = []
    for name in class_names:
        if not (folder / name).is_dir():
            raise DataError(f"{folder / name}: no images of this class, the folder is missing")
        images = sorted(images_below(folder / name, passed, group_folders))
        if not images:
            raise DataError(
                f"{folder / name}: no images of this class, expected files that end with one of "
                f"{' '.join(SUFFIXES)}"
            )
        files.append(images)
    return files


def _first_header(reading: Reading, paths: Sequence[Path]) -> dict[Path, Header]:
    """Return the header of the first image that is not damaged."""
    for path in paths:
        if headers := reading.headers({"train": [path]}):
            return headers
    raise DataError(f"{reading.folder}: all {len(paths):,} train images are damaged")


def _check_classes(
    folder: Path, files: Mapping[str, list[list[Path]]], class_names: tuple[str, ...]
) -> None:
    """Raise an error for a class of which all images are damaged."""
    for split, of_split in files.items():
        for name, of_class in zip(class_names, of_split, strict=True):
            if not of_class:
                raise DataError(f"{folder}: all {split} images of class {name!r} are damaged")


def _labels(files: list[list[Path]]) -> Tensor:
    """Return the label of each file of each class."""
    return torch.tensor([label for label, of_class in enumerate(files) for _ in of_class])
