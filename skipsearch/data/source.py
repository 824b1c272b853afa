"""A source after reading, before it is resized and divided."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from skipsearch.data.images import Split
from skipsearch.data.notes import Notes
from skipsearch.errors import DataError

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """A source after reading: its parts, of which only "train" is always present."""

    parts: dict[str, Split]
    class_names: tuple[str, ...]
    augmentation: dict[str, int | bool]
    source: str
    notes: Notes = field(default_factory=Notes)


def split_of_arrays(
    where: str, images: Array, labels: Array, class_names: tuple[str, ...]
) -> Split:
    """Return a split of images (N, H, W) or (N, H, W, C) and labels (N,), after checks."""
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(labels)} labels for {len(images)} images")
    for label in (labels.min(), labels.max()):
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{where}: label {label} is not in 0..{len(class_names) - 1}, one for each of the "
                f"{len(class_names)} classes"
            )
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(labels.astype(np.int64)),
    )
