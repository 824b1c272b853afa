"""Conversion of arrays and datasets given in Python to arrays named as in an .npz file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from skipsearch.data.arrays import AXES, GROUPS
from skipsearch.data.axes import CHANNELS_FIRST, CHANNELS_LAST
from skipsearch.data.known import DATASETS
from skipsearch.data.source import Array
from skipsearch.data.vectors import CLASS_NAMES, TARGET_NAMES, task_of
from skipsearch.errors import DataError, escaped, reason, shown_value
from skipsearch.task import MULTI_LABEL, REGRESSION

# What the columns of a data frame of labels are the names of, by task
NAMES_OF_COLUMNS = {MULTI_LABEL.name: CLASS_NAMES, REGRESSION.name: TARGET_NAMES}

READ_AGAIN = 20  # images that are read twice: a random flip stays unseen in one of a million sets


def check_given_name(name: object) -> str:
    """Return the name of given data; raise an error if it could name other data."""
    if not isinstance(name, str) or not name or "/" in name or "\\" in name:
        raise DataError(f"name: {shown_value(name)} is not a text without slashes")
    if escaped(name) != name:
        raise DataError(f"name: {shown_value(name)} is not a text without control characters")
    if name in DATASETS:
        raise DataError(f"name: {name!r} is a known data set; give another name")
    return name


def given_arrays(
    images: Any,
    labels: Any,
    validation: tuple[Any, Any] | None,
    test: tuple[Any, Any] | None,
    class_names: Sequence[str] | None,
    target_names: Sequence[str] | None,
    axes: str | None,
    groups: Any = None,
) -> tuple[dict[str, Array], str]:
    """Return arrays named as in an .npz file, and their kind, ``labels`` or ``masks``.

    Args:
        images: Training images.
        labels: Their labels, targets or masks.
        validation: Images and labels of the validation split.
        test: Images and labels of the test split.
        class_names: Name of each class or label.
        target_names: Name of each target.
        axes: Order of the axes of images.
        groups: Group of each training image.

    Raises:
        DataError: If a split is not a pair, or a value is not an array.
    """
    pairs = {"train": (images, labels), "validation": validation, "test": test}
    target = _array("train labels", labels)
    kind = "masks" if target.ndim == 3 else "labels"
    arrays: dict[str, Array] = {}
    for part, pair in pairs.items():
        if pair is None:
            continue
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise DataError(f"{part}: expected a pair of images and labels")
        arrays[f"{part}_images"] = _image_array(f"{part} images", pair[0])
        arrays[f"{part}_{kind}"] = _array(f"{part} labels", pair[1])
    for key, names in ((CLASS_NAMES, class_names), (TARGET_NAMES, target_names)):
        if names is not None:
            arrays[key] = np.asarray(list(names))
    columns = _column_names(labels)
    if columns and class_names is None and target_names is None:
        task = task_of("train labels", target, None, None)
        if task.name in NAMES_OF_COLUMNS:
            arrays[NAMES_OF_COLUMNS[task.name]] = np.asarray(columns)
    if groups is not None:
        arrays[GROUPS] = _array("groups", groups)
    if axes is not None:
        arrays[AXES] = np.asarray(axes)
    return arrays, kind


def _column_names(labels: Any) -> list[str]:
    """Return the names of the columns of a data frame; none if they are no texts."""
    names = list(getattr(labels, "columns", ()))
    return names if all(isinstance(name, str) for name in names) else []


def _image_array(what: str, value: Any) -> Array:
    """Return an image or several of one size as an array of numbers on the CPU."""
    array = _as_array(what, value)
    if array.dtype.kind not in "biuf":
        _check_one_size(what, value)
        raise DataError(
            f"{what}: {shown_value(value)} is not an array of numbers, a tensor or a picture of"
            " Pillow; images of one size are stacked"
        )
    return array


def _check_one_size(what: str, images: Any) -> None:
    """Raise an error for the first of several images that is not of the size of the first one."""
    if not isinstance(images, list | tuple | np.ndarray) or not len(images):
        return
    if not all(isinstance(image, np.ndarray | torch.Tensor | Image.Image) for image in images):
        return
    first, *others = [_as_array(what, image).shape for image in images]
    for number, shape in enumerate(others, 1):
        if shape != first:
            one, other = (" x ".join(map(str, sides)) for sides in (shape, first))
            raise DataError(
                f"{what}: image {number} is {one}, image 0 is {other}, expected one size: resize"
                " them"
            )


def _array(what: str, value: Any) -> Array:
    """Return labels, masks or groups as an array of numbers or texts on the CPU."""
    array = _as_array(what, value)
    if array.dtype.kind == "O":
        if all(isinstance(item, str) for item in array.flat):  # a column of pandas
            return array.astype(str)
        lengths = [len(item) for item in array.flat if isinstance(item, list | tuple | np.ndarray)]
        if len(set(lengths)) > 1:
            raise DataError(
                f"{what}: lists of {min(lengths)} to {max(lengths)} values, expected one length;"
                " several labels of an image are a matrix (N, K) of 0 and 1"
            )
        odd = _odd_one(list(array.flat))
        raise DataError(
            f"{what}: expected numbers, or texts alone, with no value missing"
            f"{'' if odd is None else f'; number {odd} is {shown_value(array.flat[odd])}'}"
        )
    return array


def _odd_one(items: list[Any]) -> int | None:
    """Return the index of the first value that is no number or text or, beside texts, no text."""
    has_texts = any(isinstance(item, str) for item in items)
    odd = (
        number
        for number, item in enumerate(items)
        if not isinstance(item, str | Number | np.generic)
        or (has_texts and not isinstance(item, str))
    )
    return next(odd, None)


def _as_array(what: str, value: Any) -> Array:
    """Return a value as an array on the CPU, of objects if nothing else holds it."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            raise DataError(f"{what}: bfloat16, which NumPy does not have: give them.float()")
        return np.asarray(value.numpy())
    try:
        return np.asarray(value)
    except ValueError:  # lists of different lengths
        return np.fromiter(value, dtype=object, count=len(value))


class Items(NamedTuple):
    """The items of a dataset.

    Attributes:
        images: Images, stacked.
        labels: Label of each.
        axes: Order of the axes of the images; None to infer it from their shape.
    """

    images: Array
    labels: Array
    axes: str | None

    @property
    def pair(self) -> tuple[Array, Array]:
        """Images and labels."""
        return self.images, self.labels


def read_items(where: str, dataset: Any, image: str, label: str) -> Items:
    """Read all items of a map-style dataset.

    Args:
        where: Name of the dataset, for messages.
        dataset: Object with a length and items by index.
        image: Key of the image, if items are mappings.
        label: Key of the label, if items are mappings.

    Raises:
        DataError: If it has no length, an item cannot be read or is of another kind, a label is
            None, two images differ in size or type, or reading an image twice gives different
            pixels.
    """
    try:
        number = len(dataset)
    except TypeError:
        raise DataError(
            f"{where}: {type(dataset).__name__} has no length; give a map-style dataset"
        ) from None
    if not number:
        raise DataError(f"{where}: the dataset is empty")
    images: list[Array] = []
    labels: list[Any] = []
    axes: str | None = None
    for index in range(number):
        picture, target = _read_pair(where, dataset, index, image, label)
        found = _axes_of(picture)
        if images and found != axes:
            raise DataError(
                f"{where}[{index}]: some images are tensors with channels first, pictures of"
                " Pillow, or arrays, and others are not; give one kind"
            )
        axes = found
        pixels = _image_array(f"{where}[{index}]: image", picture)
        if images and (pixels.shape, pixels.dtype) != (images[0].shape, images[0].dtype):
            raise DataError(
                f"{where}[{index}]: the image is {pixels.dtype} {pixels.shape} and the first"
                f" {images[0].dtype} {images[0].shape}, expected one size: resize in the transform"
            )
        images.append(pixels)
        if target is None:
            raise DataError(f"{where}[{index}]: the label is None, expected one for each image")
        if isinstance(target, torch.Tensor):
            target = target.numpy() if target.ndim else target.item()
        labels.append(target)
    for index in range(min(number, READ_AGAIN)):
        again, _ = _read_pair(where, dataset, index, image, label)
        pixels = _image_array(f"{where}[{index}]: image", again)
        if not np.array_equal(pixels, images[index], equal_nan=True):
            raise DataError(
                f"{where}[{index}]: reading the image twice gives different pixels: remove the"
                " random transform, and set crop, flip and cutout in the recipe"
            )
    return Items(np.stack(images), _array(f"{where}: labels", labels), axes)


def _axes_of(picture: Any) -> str | None:
    """Return the order of the axes by the kind of an image; None for arrays."""
    if isinstance(picture, Image.Image):
        return CHANNELS_LAST
    return CHANNELS_FIRST if isinstance(picture, torch.Tensor) and picture.ndim == 3 else None


def _read_pair(name: str, dataset: Any, index: int, image: str, label: str) -> tuple[Any, Any]:
    """Read an item; return its image and its label."""
    where = f"{name}[{index}]"
    try:
        item = dataset[index]
    except Exception as error:  # code of the user, which raises errors of any kind
        raise DataError(f"{where}: {reason(error)}") from error
    if isinstance(item, Mapping):
        for argument, key, other in (("image", image, label), ("label", label, image)):
            if key not in item:
                example = next((f", such as {argument}={k!r}" for k in item if k != other), "")
                raise DataError(
                    f"{where}: no key {key!r} among {', '.join(map(str, item))}: give the key of"
                    f" the {argument} as {argument}=...{example}"
                )
        return item[image], item[label]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise DataError(
            f"{where}: {type(item).__name__} is not a pair of image and label, nor a mapping"
        )
    return item[0], item[1]


def names_of(dataset: Any, label: str) -> list[str] | None:
    """Return the names of the classes in a dataset of torchvision or Hugging Face, if it has any.

    Args:
        dataset: Map-style dataset.
        label: Key of the label, if items are mappings.
    """
    features = getattr(dataset, "features", None)
    known = getattr(dataset, "classes", None)
    if isinstance(features, Mapping) and label in features:
        of_each = getattr(features[label], "feature", features[label])  # of a list of labels
        known = getattr(of_each, "names", None)
    return None if known is None else [str(name) for name in known]
