"""The content of a source of data after reading, before it is resized and divided."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.mapped import ArrayFile, Images, Mapped
from skipsearch.data.notes import Notes
from skipsearch.data.split import Split
from skipsearch.errors import DataError, counted
from skipsearch.task import CLASSIFICATION, DENOISING, Task

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """The content of a source: its parts, of which only "train" is always present.

    Attributes:
        parts: Splits by name.
        class_names: Name of each class, label or target; empty for images without any.
        augmentation: Convention of the source, see ``Data``.
        source: Origin in one sentence.
        notes: What was skipped or looks wrong.
        task: Task of the networks.
        groups: Group of each training image, (N,), such as a patient; images of one group stay in
            one split. None if every image is its own group.
        place: Where the images lie, in a sentence; empty for memory without a cache.
    """

    parts: dict[str, Split]
    class_names: tuple[str, ...]
    augmentation: dict[str, int | bool]
    source: str
    notes: Notes = field(default_factory=Notes)
    task: Task = CLASSIFICATION
    groups: Array | None = None
    place: str = ""

    def for_denoising(self) -> Self:
        """Return the same images for denoising; classes stay unused, and zeros replace others."""
        parts, class_names = self.parts, self.class_names
        if not self.task.classifies:
            parts = {
                part: Split(split.images, no_labels(len(split))) for part, split in parts.items()
            }
            class_names = ()
        notes = replace(self.notes, numbers="")
        return replace(self, parts=parts, class_names=class_names, task=DENOISING, notes=notes)


def no_labels(number: int) -> Tensor:
    """Return the labels of images without classes."""
    return torch.zeros(number, dtype=torch.int64)


def split_of_images(images: Images) -> Split:
    """Return a split of images without classes."""
    return Split(images, no_labels(len(images)))


def split_of_masks(where: str, images: Images, masks: Images) -> Split:
    """Return a split of images and masks (N, H, W), after checks."""
    found, expected = tuple(masks.shape), (len(images), *images.shape[2:])
    if found != expected:
        raise DataError(f"{where}: masks are {found}, expected {expected} as their images")
    return Split(images, masks)


def split_of_arrays(
    where: str, images: Images, labels: Array, class_names: tuple[str, ...]
) -> Split:
    """Return a split of images and labels (N,), after checks."""
    _check_number(where, images, labels)
    for label in (labels.min(), labels.max()):
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{where}: label {label} is not in 0..{len(class_names) - 1}, one for each of the "
                f"{len(class_names)} classes"
            )
    return Split(images, torch.from_numpy(labels.astype(np.int64)))


def split_of_vectors(where: str, images: Images, labels: Array) -> Split:
    """Return a split of images and labels or targets (N, K), after checks."""
    _check_number(where, images, labels)
    return Split(images, torch.from_numpy(np.ascontiguousarray(labels)))


def _check_number(where: str, images: Images, labels: Array) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"{where}: {counted(len(labels), 'label')} for {counted(len(images), 'image')}"
        )


def images_of(array: Array) -> Tensor:
    """Return images (N, H, W) or (N, H, W, C) as a tensor (N, C, H, W)."""
    array = array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def images_in(file: ArrayFile, *, first: bool) -> Mapped:
    """Return the images in a file as they are there.

    Args:
        file: Array (N, H, W), (N, H, W, C) or (N, C, H, W).
        first: Whether the channels are the first axis of an image.
    """
    form = file.shape[1:] if len(file.shape) == 4 else (1, *file.shape[1:])
    last = len(file.shape) == 4 and not first
    if last:
        height, width, channels = form
        form = (channels, height, width)
    return Mapped((replace(file, form=form, channels_last=last),))
