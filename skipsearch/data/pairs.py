"""A folder of images and masks for segmentation, paired by the stems of their names."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.geometry import resize_masks
from skipsearch.data.looking import Passed, images_below, look_into
from skipsearch.data.mask_classes import VALUES, MaskSource, classes_of_masks
from skipsearch.data.masks import Colours, check_palettes, mask_header, open_mask
from skipsearch.data.pairing import EXPECTED, Halves, Layout, below
from skipsearch.data.pictures import Header
from skipsearch.data.reading import Files, Reading, format_of, kept
from skipsearch.data.source import Array, Read
from skipsearch.data.split import Split
from skipsearch.errors import DataError, closest
from skipsearch.plan import Size
from skipsearch.task import SEGMENTATION
from skipsearch.text import read_text

NAMES = ("classes.txt", "classes")  # file of the names of the classes, one per line


def read_pairs(reading: Reading, layout: Layout, size: Size | None) -> Read:
    """Read a folder of images and masks.

    Args:
        reading: Reading of the folder.
        layout: Folders of the images and masks, from `find_pairs`.
        size: Height and width to resize images and masks to; None to keep their size.

    Raises:
        DataError: If the folder has another structure, a pair is incomplete or of two sizes, a file
            cannot be read, or a mask has values that are not classes.
    """
    folder, places = layout.folder, layout.places()
    passed = Passed(skipped=[below(folder, place) for place in layout.skipped])
    file = _look_beside(folder, places, passed)
    files: dict[str, Files] = {"images": {}, "masks": {}}
    for split, halves in places.items():
        for half, paths in zip(files, _paired(halves, passed), strict=True):
            files[half][split] = paths
    headers = reading.headers(files["images"])
    turned = _check_sizes(files, headers, reading.headers(files["masks"], mask_header))
    files = _sound_pairs(reading, files)
    wanted = format_of(headers, size)
    names = None if file is None else _class_names(file)
    masks, class_names, palettes = _read_masks(reading, files["masks"], wanted.size, names)
    files = _sound_pairs(reading, files)
    images, notes = reading.images(files["images"], wanted, passed.notes())
    damaged = set(reading.damaged)
    for split, paths in files["images"].items():
        masks[split] = kept(masks[split], [path not in damaged for path in paths])
    reading.sound(files["images"])
    return Read(
        parts={split: Split(images[split], masks[split]) for split in places},
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the images and masks in {folder}",
        notes=replace(
            notes,
            turned=turned,
            palettes=palettes,
            read_folders="folders of images and masks",
        ),
        task=SEGMENTATION,
    )


def _look_beside(folder: Path, places: Mapping[str, Halves], passed: Passed) -> Path | None:
    """Count the files beside the folders of images and masks; return the file of class names."""
    halves = {place for both in places.values() for place in both.values()}
    beside = {folder} | {place.parent for place in halves}
    for place in beside - halves:
        inside = look_into(place)
        passed.add(inside, outside=len(inside.images))
    names = [folder / name for name in NAMES if (folder / name).is_file()]
    if names:
        passed.files[names[0].suffix] -= 1
    return names[0] if names else None


def _paired(halves: Halves, passed: Passed) -> tuple[list[Path], list[Path]]:
    """Return the images and the masks of a split, in the same order."""
    images, masks = (_by_stem(halves[half], passed) for half in ("images", "masks"))
    for half, place, files in (
        ("images", halves["images"], images),
        ("masks", halves["masks"], masks),
    ):
        if not files:
            raise DataError(f"{place}: no {half} in it, {EXPECTED}")
    _check_halves("mask", images, masks, halves["masks"])
    _check_halves("image", masks, images, halves["images"])
    stems = sorted(images)
    return [images[stem] for stem in stems], [masks[stem] for stem in stems]


def _by_stem(place: Path, passed: Passed) -> dict[str, Path]:
    """Return the files below a folder by their paths without suffixes."""
    files: dict[str, Path] = {}
    for path in images_below(place, passed, True):
        # macOS writes accents as separate characters.
        stem = unicodedata.normalize("NFC", path.relative_to(place).with_suffix("").as_posix())
        if stem in files:
            raise DataError(f"{path}: of the same name as {files[stem].name}, expected one of them")
        files[stem] = path
    return files


def _check_halves(
    lacking: str, files: Mapping[str, Path], others: Mapping[str, Path], place: Path
) -> None:
    """Raise an error for the first file without its other half."""
    alone = [stem for stem in files if stem not in others]
    if not alone:
        return
    near = closest(alone[0], [stem for stem in others if stem not in files])
    hint = "" if near is None else f" (did you mean {others[near].name}? expected the same name)"
    more = f", nor have {len(alone) - 1:,} more of {len(files):,} files" if len(alone) > 1 else ""
    raise DataError(f"{files[alone[0]]}: has no {lacking} in {place}{hint}{more}")


def _sound_pairs(reading: Reading, files: Mapping[str, Files]) -> dict[str, Files]:
    """Return the files of the pairs of which neither is damaged."""
    damaged = set(reading.damaged)
    left: dict[str, Files] = {"images": {}, "masks": {}}
    for split, images in files["images"].items():
        pairs = list(zip(images, files["masks"][split], strict=True))
        sound = [pair for pair in pairs if not damaged & {*pair}]
        if not sound:
            raise DataError(
                f"{reading.folder}: all {len(pairs):,} {split} pairs have a damaged file, such as"
                f" {next(path for path in pairs[0] if path in damaged)}"
            )
        left["images"][split] = [image for image, _ in sound]
        left["masks"][split] = [mask for _, mask in sound]
    return left


def _check_sizes(
    files: Mapping[str, Files], images: Mapping[Path, Header], masks: Mapping[Path, Header]
) -> int:
    """Raise an error for the first pair of different sizes.

    Returns:
        Number of pairs of which image and mask are rotated or mirrored differently by EXIF.
    """
    turned_alone = 0
    pairs = [
        pair
        for split, of_split in files["images"].items()
        for pair in zip(of_split, files["masks"][split], strict=True)
    ]
    for image, mask in pairs:
        if image not in images or mask not in masks:  # damaged
            continue
        one, other = images[image], masks[mask]
        if one.size != other.size:
            turned = ", which its EXIF turns" if one.is_turned else ""
            raise DataError(
                f"{mask} has {other.size} pixels, and its image {image} {one.size}{turned}:"
                " expected the same size"
            )
        turned_alone += one.orientation != other.orientation
    return turned_alone


def _class_names(file: Path) -> list[str]:
    """Read the names of the classes, one per line."""
    names = [line.strip() for line in read_text(file, DataError).strip().splitlines()]
    for number, name in enumerate(names):
        if not name:
            raise DataError(f"{file}: line {number + 1} is empty, expected the name of a class")
        if name in names[:number]:
            raise DataError(f"{file}: {name!r} is listed twice, expected one name for each class")
    return names


def _read_masks(
    reading: Reading, files: Files, size: Size, names: Sequence[str] | None
) -> tuple[dict[str, Tensor], tuple[str, ...], int]:
    """Return the masks of each split, the names of the classes, and the number of palette masks.

    Damaged ones are left out.
    """
    folder, number = reading.folder, sum(map(len, files.values()))
    reading.room.reserve(number * size.pixels, f"{folder}: {number:,} masks of {size} bytes")
    tensors: dict[str, Tensor] = {}
    counts: dict[str, Array] = {}
    palettes: list[tuple[Path, Colours]] = []
    called: Files = {}
    for split, paths in files.items():
        masks = reading.room.empty(f"{split}_masks", (len(paths), *size), torch.uint8)
        place = {path: index for index, path in enumerate(paths)}

        def read(
            path: Path, masks: Tensor = masks, place: Mapping[Path, int] = place
        ) -> tuple[Array, Colours]:
            mask = open_mask(path)
            masks[place[path]] = torch.from_numpy(resize_masks(mask.classes, size))
            return np.bincount(mask.classes.ravel(), minlength=VALUES), mask.palette

        seen = reading.each(paths, read, "mask")
        tensors[split] = kept(masks, [one is not None for one in seen])
        known = [(path, *one) for path, one in zip(paths, seen, strict=True) if one is not None]
        called[split] = [path for path, _, _ in known]
        counts[split] = np.array([count for _, count, _ in known]).reshape(-1, VALUES)
        palettes += [(path, palette) for path, _, palette in known]
    reading.sound(files)
    number = check_palettes(palettes)
    source = MaskSource(
        where=str(folder),
        naming=str(folder / NAMES[0]),
        advice=lambda masks: (
            f"save Image.fromarray({masks.replace('MASKS', 'numpy.array(mask)')}) for each"
            " mask = PIL.Image.open(FILE)"
        ),
    )
    return tensors, classes_of_masks(source, counts, called, names), number
