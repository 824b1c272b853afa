"""An .npz file of images and labels, targets or masks: checks, with code that corrects it."""

import tarfile
import zipfile
from collections.abc import Mapping
from math import isqrt
from pathlib import Path

import numpy as np

from skipsearch.data.axes import CHANNELS_FIRST, CHANNELS_LAST, axes_of
from skipsearch.data.labels import read_labels
from skipsearch.data.mask_arrays import read_mask_arrays
from skipsearch.data.memory import require_memory
from skipsearch.data.pixels import check_pixels
from skipsearch.data.source import (
    Array,
    Read,
    split_of_arrays,
    split_of_images,
    split_of_masks,
    split_of_vectors,
)
from skipsearch.data.vectors import (
    CLASS_NAMES,
    TARGET_NAMES,
    read_label_matrices,
    read_targets,
    task_of,
)
from skipsearch.errors import DataError, not_one_of, reason
from skipsearch.task import CLASSIFICATION, MULTI_LABEL, REGRESSION, SEGMENTATION

# Names of the splits in a file. Those of validation are optional.
PREFIXES = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}
REQUIRED = {
    "labels": ("train_images", "train_labels", "test_images", "test_labels"),
    "masks": ("train_images", "train_masks"),
}
AXES = "axes"  # of the images
GROUPS = "train_groups"
KEYS = (
    *(f"{prefix}_{what}" for prefix in PREFIXES for what in ("images", *REQUIRED)),
    *(CLASS_NAMES, TARGET_NAMES, AXES, GROUPS),
)


def read_npz(path: Path, *, images_only: bool = False) -> Read:
    """Read an .npz file of train and test images, and of validation images if it has some.

    Args:
        path: Path of the file.
        images_only: Whether images suffice. Labels are then read if all splits have some, and masks
            are not read.

    Raises:
        DataError: If it is another kind of file, or its arrays are not as `load_data` requires.
    """
    names, kind = _members(path, images_only)
    arrays = _arrays(path, names)
    return read_arrays(str(path), arrays, kind, f"the arrays in {path}")


def read_arrays(where: str, arrays: Mapping[str, Array], kind: str | None, source: str) -> Read:
    """Check arrays and convert them to a common format.

    Args:
        where: Source of the arrays, for messages.
        arrays: Arrays by the names of `KEYS`, including the required ones.
        kind: ``labels`` or ``masks``; None for images alone.
        source: Description of their origin.

    Raises:
        DataError: If they are not as `load_data` requires.
    """
    images = {key: array for key, array in arrays.items() if key.endswith("_images")}
    targets = {key: array for key, array in arrays.items() if key.endswith(f"_{kind}")}
    _check_pixels(where, images)
    class_names: tuple[str, ...] = ()
    names, target_names = arrays.get(CLASS_NAMES), arrays.get(TARGET_NAMES)
    task = CLASSIFICATION
    if kind == "masks":
        if target_names is not None:
            raise DataError(f"{where}: {TARGET_NAMES} are for numbers, not for masks")
        task = SEGMENTATION
        targets, class_names = read_mask_arrays(where, targets, names)
    elif kind == "labels":
        task = task_of(where, targets["train_labels"], names, target_names)
        if task is MULTI_LABEL:
            targets, class_names = read_label_matrices(where, targets, names)
        elif task is REGRESSION:
            targets, class_names = read_targets(where, targets, target_names)
        else:
            targets, class_names = read_labels(where, targets, names)
    _check_sizes(
        where, images, {key.rpartition("_")[0]: len(array) for key, array in targets.items()}
    )
    axes = _axes(where, arrays.get(AXES), images["train_images"])
    first = axes == CHANNELS_FIRST
    if first:
        images = {key: array.transpose(0, 2, 3, 1) for key, array in images.items()}
    _check_alpha(where, images, first)
    parts = {}
    for prefix, part in PREFIXES.items():
        if f"{prefix}_images" not in images:
            continue
        pixels, key = images[f"{prefix}_images"], f"{prefix}_{kind}"
        if kind is None:
            parts[part] = split_of_images(pixels)
        elif kind == "masks":
            parts[part] = split_of_masks(f"{where}: {key}", pixels, targets[key])
        elif task.classifies:
            parts[part] = split_of_arrays(f"{where}: {key}", pixels, targets[key], class_names)
        else:
            parts[part] = split_of_vectors(f"{where}: {key}", pixels, targets[key])
    return Read(
        parts=parts,
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=source + (", read as (N, C, H, W)" if first else ""),
        task=task,
        groups=_groups(where, arrays.get(GROUPS), len(images["train_images"])),
    )


# --- the file ------------------------------------------------------------------------------------


def _members(path: Path, images_only: bool) -> tuple[list[str], str | None]:
    """Return the names of the arrays to read, and the kind of targets among them.

    Raises:
        DataError: If an array is unexpected or missing, or there are too many.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except Exception as error:  # zipfile raises errors of many kinds
        raise DataError(f"{path}: unreadable as an .npz file ({_what_else(path, error)})") from None
    if not all(member.filename.endswith(".npy") for member in members):
        raise DataError(
            f"{path}: unreadable as an .npz file (an archive of other files: unpack it and name "
            "its folder)"
        )
    names = [member.filename.removesuffix(".npy") for member in members]
    for name in names:
        if name not in KEYS:
            raise DataError(f"{path}: array {not_one_of(name, KEYS)}")
    require_memory(
        2 * sum(member.file_size for member in members),  # twice, for the division into splits
        f"{path}: its arrays",
        "write fewer or smaller images",
    )
    if {"val_images", "validation_images"} <= set(names):
        raise DataError(f"{path}: both val_images and validation_images, expected one of them")
    kinds = [kind for kind in REQUIRED if any(name.endswith(f"_{kind}") for name in names)]
    of_images = [name.removesuffix("_images") for name in names if name.endswith("_images")]
    if images_only:
        labels = [f"{prefix}_labels" for prefix in of_images]
        if "train" not in of_images:
            raise DataError(f"{path}: no train_images in it")
        if not set(labels) <= set(names):
            images = [f"{prefix}_images" for prefix in of_images]
            return [*images, *(name for name in names if name == GROUPS)], None
        return [name for name in names if not name.endswith("_masks")], "labels"
    if len(kinds) > 1:
        raise DataError(f"{path}: both labels and masks, expected one of them")
    kind = kinds[0] if kinds else "labels"
    prefixes = [p for p in PREFIXES if p in of_images or f"{p}_{kind}" in names]
    pairs = [f"{prefix}_{what}" for prefix in prefixes for what in ("images", kind)]
    for key in (*REQUIRED[kind], *pairs):
        if key not in names:
            raise DataError(f"{path}: no {key} in it, expected {', '.join(REQUIRED[kind])}")
    return names, kind


def _what_else(path: Path, error: Exception) -> str:
    """Describe a file that is not an .npz file."""
    with path.open("rb") as stream:
        start = stream.read(6)
    if not start:
        return "an empty file"
    if start == b"\x93NUMPY":
        return "one array alone: write several by their names with numpy.savez"
    if tarfile.is_tarfile(path):
        return "an archive of other files: unpack it and name its folder"
    return reason(error)


def _arrays(path: Path, names: list[str]) -> dict[str, Array]:
    """Read the arrays."""
    arrays: dict[str, Array] = {}
    try:
        # If numpy opens a file but cannot read it, the file stays open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            for name in names:
                arrays[name] = np.asarray(file[name])
    except Exception as error:  # zipfile, zlib and numpy raise errors of many kinds
        if "allow_pickle" in str(error):  # numpy's error for an array of Python objects
            raise DataError(
                f"{path}: {name} holds Python objects, which are not read: save "
                f"{_plain(name)}, and the others in the same way"
            ) from None
        raise DataError(f"{path}: unreadable as an .npz file ({reason(error)})") from None
    return arrays


def _plain(name: str) -> str:
    """Return the expression that converts an array of objects to numbers or texts."""
    return f"numpy.stack(list({name}))" if name.endswith("_images") else f"{name}.astype(str)"


# --- the images ----------------------------------------------------------------------------------


def _check_pixels(where: str, images: Mapping[str, Array]) -> None:
    """Raise an error for pixels of another kind, with the expression that converts them."""
    for key, array in images.items():
        what = f"{where}: {key} is {array.dtype} {array.shape}"
        if array.ndim not in (3, 4) or 0 in array.shape:
            raise DataError(
                f"{what}, expected (N, H, W) or (N, H, W, C), not empty{_shape(key, array)}"
            )
        check_pixels(what, array, key, ", and the other images in the same way")
        train = images["train_images"]
        if array.dtype != train.dtype:
            raise DataError(
                f"{what} and train_images {train.dtype}, expected one type of pixels: save"
                f" {key}.astype('{train.dtype}') if their scale is the same"
            )


def _shape(key: str, images: Array) -> str:
    """Return the expression that converts flat images to squares, if it is unique."""
    side = isqrt(images.shape[-1]) if images.ndim == 2 else 0
    if images.size == 0 or side == 0 or side**2 != images.shape[-1]:
        return ""
    return f": save {key}.reshape(-1, {side}, {side}), and the other images in the same way"


def _check_sizes(where: str, images: Mapping[str, Array], numbers: Mapping[str, int]) -> None:
    """Raise an error if images lie along the last axis, or differ in size between splits."""
    for key, array in images.items():
        number = numbers.get(key.removesuffix("_images"), len(array))
        if len(array) != number and array.shape[-1] == number:
            raise DataError(
                f"{where}: {key} is {array.shape} for {number} labels, expected (N, H, W) or "
                f"(N, H, W, C): save numpy.moveaxis({key}, -1, 0), and the other images in the "
                "same way"
            )
    expected = images["train_images"].shape[1:]
    for key, array in images.items():
        if array.shape[1:] != expected:
            raise DataError(
                f"{where}: {key} are {array.shape[1:]} and train_images {expected}, expected the "
                "same size"
            )


def _axes(where: str, given: Array | None, images: Array) -> str:
    """Return the order of the axes of images; raise an error if it is ambiguous or invalid."""
    if images.ndim == 3:
        return CHANNELS_LAST
    if given is not None:
        word = str(given)
        if word not in (CHANNELS_LAST, CHANNELS_FIRST):
            raise DataError(f"{where}: {AXES} {not_one_of(word, (CHANNELS_LAST, CHANNELS_FIRST))}")
        return word
    axes = axes_of(images.shape[1:])
    if axes is not None:
        return axes
    raise DataError(
        f"{where}: train_images is {images.shape}, in which the channels could be any axis: add the"
        f" text {AXES}, {CHANNELS_LAST!r} or {CHANNELS_FIRST!r}"
    )


def _groups(where: str, groups: Array | None, images: int) -> Array | None:
    """Check the groups of the training images, and return them."""
    if groups is not None and (groups.shape != (images,) or groups.dtype.kind not in "iuUS"):
        raise DataError(
            f"{where}: {GROUPS} is {groups.dtype} {groups.shape}, expected integers or texts"
            f" ({images},), one for each training image"
        )
    return groups


def _check_alpha(where: str, images: Mapping[str, Array], first: bool) -> None:
    """Raise an error for a constant fourth channel, such as that of opaque images."""
    fourth = [array[..., 3] for array in images.values() if array.ndim == 4 and array.shape[3] == 4]
    if fourth and all((part == fourth[0].flat[0]).all() for part in fourth):
        key = next(iter(images))
        colours = f"{key}[:, :3]" if first else f"{key}[..., :3]"
        raise DataError(
            f"{where}: the fourth channel of {key} is {fourth[0].flat[0]} everywhere, as of opaque "
            f"images: save {colours}, and the other images in the same way"
        )
