"""Arrays of images and labels, targets or masks: checks, with code that corrects them."""

from collections.abc import Mapping
from dataclasses import replace
from math import isqrt

import numpy as np
import torch

from skipsearch.data.axes import CHANNELS, CHANNELS_FIRST, CHANNELS_LAST, axes_of
from skipsearch.data.labels import may_be_targets, read_labels
from skipsearch.data.mapped import ArrayFile, Images, Mapped
from skipsearch.data.mask_arrays import read_mask_arrays
from skipsearch.data.notes import Notes
from skipsearch.data.pixels import check_pixels
from skipsearch.data.source import (
    Array,
    Read,
    images_in,
    images_of,
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
from skipsearch.errors import DataError, counted, not_one_of
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


def read_arrays(
    where: str,
    arrays: Mapping[str, Array],
    files: Mapping[str, ArrayFile],
    kind: str | None,
    source: str,
    place: str = "",
    holder: str = "",
) -> Read:
    """Check arrays and convert them to a common format.

    Args:
        where: Source of the arrays, for messages.
        arrays: Arrays by the names of `KEYS`, including the required ones.
        files: Files that images and masks stay in, by the same names.
        kind: ``labels`` or ``masks``; None for images alone.
        source: Description of their origin.
        place: Where mapped arrays lie; empty for memory.
        holder: What the user can add an array to, ``file`` or ``folder``; empty for arguments in
            Python.

    Raises:
        DataError: If they are not as `load_data` requires.
    """
    images = {key: array for key, array in arrays.items() if key.endswith("_images")}
    targets = {key: array for key, array in arrays.items() if key.endswith(f"_{kind}")}
    _check_pixels(where, images)
    class_names: tuple[str, ...] = ()
    names, target_names = arrays.get(CLASS_NAMES), arrays.get(TARGET_NAMES)
    task, notes = CLASSIFICATION, Notes()
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
            if names is None and may_be_targets(targets["train_labels"]):
                notes = Notes(numbers=str(targets["train_labels"].dtype))
            targets, class_names = read_labels(where, targets, names)
    _check_sizes(
        where, images, {key.rpartition("_")[0]: len(array) for key, array in targets.items()}
    )
    axes = _axes(where, arrays.get(AXES), images["train_images"], holder)
    notes = replace(notes, axes=_unusual(axes, images["train_images"].shape))
    _check_alike(where, images, axes)
    first = axes == CHANNELS_FIRST
    if first:
        images = {key: array.transpose(0, 2, 3, 1) for key, array in images.items()}
    _check_alpha(where, images, first)
    parts = {}
    for prefix, part in PREFIXES.items():
        if f"{prefix}_images" not in images:
            continue
        of_images, key = f"{prefix}_images", f"{prefix}_{kind}"
        pixels: Images
        if of_images in files:
            pixels = images_in(files[of_images], first=first)
        else:
            pixels = images_of(images[of_images])
        if kind is None:
            parts[part] = split_of_images(pixels)
        elif kind == "masks":
            masks: Images
            if key in files:
                masks = Mapped((files[key],))
            else:  # copied, since they can be those of the user
                masks = torch.from_numpy(np.array(targets[key], order="C"))
            parts[part] = split_of_masks(f"{where}: {key}", pixels, masks)
        elif task.classifies:
            parts[part] = split_of_arrays(f"{where}: {key}", pixels, targets[key], class_names)
        else:
            parts[part] = split_of_vectors(f"{where}: {key}", pixels, targets[key])
    return Read(
        parts=parts,
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=source + (", read as (N, C, H, W)" if first else ""),
        notes=notes,
        task=task,
        groups=_groups(where, arrays.get(GROUPS), len(images["train_images"])),
        place=place,
    )


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
    """Raise an error if images lie along the last axis."""
    for key, array in images.items():
        number = numbers.get(key.removesuffix("_images"), len(array))
        if len(array) != number and array.shape[-1] == number:
            raise DataError(
                f"{where}: {key} is {array.shape} for {counted(number, 'label')}, expected"
                f" (N, H, W) or (N, H, W, C): save numpy.moveaxis({key}, -1, 0), and the other"
                " images in the same way"
            )


def _check_alike(where: str, images: Mapping[str, Array], axes: str) -> None:
    """Raise an error if images differ in size or number of channels between splits."""
    place = axes.index("C")
    expected = images["train_images"].shape[1:]
    for key, array in images.items():
        if array.shape[1:] == expected:
            continue
        channels = array.shape[place] if array.ndim == 4 else 1
        wanted = images["train_images"].shape[place] if len(expected) == 3 else 1
        what = f"{where}: {key} are {array.shape[1:]} and train_images {expected}, expected the"
        if channels != wanted:
            raise DataError(f"{what} same number of channels, not {channels} and {wanted}")
        raise DataError(f"{what} same size")


def _axes(where: str, given: Array | None, images: Array, holder: str = "") -> str:
    """Return the order of the axes of images; raise an error if it is ambiguous or invalid."""
    words = (CHANNELS_LAST, CHANNELS_FIRST)
    if given is not None and str(given) not in words:
        raise DataError(f"{where}: {AXES} {not_one_of(str(given), words)}")
    if images.ndim == 3:
        return CHANNELS_LAST
    axes = axes_of(images.shape[1:]) if given is None else str(given)
    if axes is None:
        ways = "give " + " or ".join(f"{AXES}={word!r}" for word in words)
        if holder:
            ways = f"add an array {AXES} ({' or '.join(map(repr, words))}) to the {holder}"
        raise DataError(
            f"{where}: train_images is {images.shape}, in which the channels could be the first or"
            f" the last axis of an image: {ways}"
        )
    return axes


def _unusual(axes: str, shape: tuple[int, ...]) -> str:
    """Return how images are read if a usual number of channels is on another axis; else nothing."""
    if len(shape) == 3:
        return ""
    likely = axes_of(shape[1:]) or axes
    channels, usual = (shape[order.index("C")] for order in (axes, likely))
    if channels == usual or usual not in CHANNELS:
        return ""
    return f"{axes}, with {channels} channels, though the shape suggests {likely}, with {usual}"


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
    parts = (part[n : n + 1_000] for part in fourth for n in range(0, len(part), 1_000))
    if fourth and all((part == fourth[0].flat[0]).all() for part in parts):
        key = next(iter(images))
        colours = f"{key}[:, :3]" if first else f"{key}[..., :3]"
        raise DataError(
            f"{where}: the fourth channel of {key} is {fourth[0].flat[0]} everywhere, as of opaque "
            f"images: save {colours}, and the other images in the same way"
        )
