"""A folder of images for tasks whose target is the image itself, with or without classes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from skipsearch.data.folders import split_places
from skipsearch.data.looking import Passed, images_below, look_into
from skipsearch.data.pairing import find_pairs
from skipsearch.data.reading import Reading, format_of
from skipsearch.data.source import Read
from skipsearch.data.split import Split
from skipsearch.data.words import split_of
from skipsearch.errors import DataError
from skipsearch.plan import Size


def read_plain_folder(reading: Reading, size: Size | None) -> Read:
    """Read the images of a folder at any depth; masks beside them are not read.

    Args:
        reading: Reading of a folder of images, of classes, of splits, or of images and masks.
        size: Height and width to resize images to; None to keep their size.

    Raises:
        DataError: If it has no images or another structure, or an image cannot be read.
    """
    folder, passed = reading.folder, Passed()
    places = _places(folder, passed)
    files = {split: sorted(images_below(place, passed, True)) for split, place in places.items()}
    for split, place in places.items():
        if not files[split]:
            raise DataError(f"{place}: no images in it")
    headers = reading.headers(files)
    files = reading.sound(files)
    wanted = format_of(headers, size)
    images, notes = reading.images(files, wanted, passed.notes())
    files = reading.sound(files)
    class_names = _class_names(places, files)
    labels = {name: label for label, name in enumerate(class_names)}
    return Read(
        parts={
            split: Split(
                images[split],
                torch.tensor([labels.get(_top(places[split], path), 0) for path in files[split]]),
            )
            for split in places
        },
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the images in {folder}",
        notes=notes,
    )


def _places(folder: Path, passed: Passed) -> dict[str, Path]:
    """Return the folder of the images of each split; if there are none, the folder as "train"."""
    layout = find_pairs(folder)
    if layout is not None and "masks" in layout.halves():
        passed.skipped += ["masks"]
        return {split: halves["images"] for split, halves in layout.places(("images",)).items()}
    top = look_into(folder)
    if not any(split_of(place.name) for place in top.folders):
        return {"train": folder}
    passed.add(top, outside=len(top.images))
    return split_places(folder, top)


def _class_names(
    places: Mapping[str, Path], files: Mapping[str, Sequence[Path]]
) -> tuple[str, ...]:
    """Return the names of the class folders; empty if there are no classes.

    There are classes if the training images lie in two or more folders, and all other images lie in
    folders of the same names.
    """
    tops = {split: {_top(places[split], path) for path in files[split]} for split in places}
    names = tops["train"]
    if len(names) < 2 or "" in names or not all(found <= names for found in tops.values()):
        return ()
    return tuple(sorted(names))


def _top(place: Path, path: Path) -> str:
    """Return the first folder of a path below another one; empty if there is none."""
    first, *deeper = path.relative_to(place).parts
    return first if deeper else ""
