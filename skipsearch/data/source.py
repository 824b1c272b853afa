"""The content of a source of data after reading, before it is resized and divided."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.mapped import ArrayFile, Images, Mapped, Stamp
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


def split_of_images(images: Array) -> Split:
    """Return a split of images (N, H, W) or (N, H, W, C) without classes."""
    return Split(_channels_first(images), no_labels(len(images)))


def split_of_masks(where: str, images: Array, masks: Array) -> Split:
    """Return a split of images (N, H, W) or (N, H, W, C) and masks (N, H, W), after checks."""
    if masks.shape != images.shape[:3]:
        raise DataError(
            f"{where}: masks are {masks.shape}, expected {images.shape[:3]} as their images"
        )
    if isinstance(masks, np.memmap):
        return Split(_channels_first(images), _mapped(masks, masks.shape, masks.shape[1:]))
    return Split(_channels_first(images), torch.from_numpy(np.ascontiguousarray(masks)))


def split_of_arrays(
    where: str, images: Array, labels: Array, class_names: tuple[str, ...]
) -> Split:
    """Return a split of images (N, H, W) or (N, H, W, C) and labels (N,), after checks."""
    _check_number(where, images, labels)
    for label in (labels.min(), labels.max()):
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{where}: label {label} is not in 0..{len(class_names) - 1}, one for each of the "
                f"{len(class_names)} classes"
            )
    return Split(_channels_first(images), torch.from_numpy(labels.astype(np.int64)))


def split_of_vectors(where: str, images: Array, labels: Array) -> Split:
    """Return a split of images (N, H, W) or (N, H, W, C) and labels or targets (N, K)."""
    _check_number(where, images, labels)
    return Split(_channels_first(images), torch.from_numpy(np.ascontiguousarray(labels)))


def _check_number(where: str, images: Array, labels: Array) -> None:
    if len(images) != len(labels):
        raise DataError(
            f"{where}: {counted(len(labels), 'label')} for {counted(len(images), 'image')}"
        )


def _channels_first(images: Array) -> Images:
    """Return images (N, H, W) or (N, H, W, C) as a tensor (N, C, H, W), or mapped as they are."""
    if isinstance(images, np.memmap):
        last = images.ndim == 4 and images.flags.c_contiguous
        stored = images if last or images.ndim == 3 else images.transpose(0, 3, 1, 2)
        height, width = images.shape[1:3]
        channels = images.shape[3] if images.ndim == 4 else 1
        return _mapped(images, stored.shape, (channels, height, width), last)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(images, images.dtype.newbyteorder("=")))


def _mapped(
    array: np.memmap[Any, Any], shape: tuple[int, ...], form: tuple[int, ...], last: bool = False
) -> Mapped:
    """Return a memory-mapped array as images or masks.

    Args:
        array: Array in any order of its axes.
        shape: Shape of the array in the file.
        form: Shape of an item as a tensor.
        last: Whether the channels are the last axis in the file.
    """
    path = Path(str(array.filename))
    file = ArrayFile(
        path=path,
        stamp=Stamp.of(path),
        offset=array.offset,
        dtype=array.dtype.str,
        shape=shape,
        form=form,
        channels_last=last,
    )
    return Mapped((file,))
