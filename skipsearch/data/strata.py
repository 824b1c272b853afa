"""What folds are stratified by: the classes or labels of images, or the classes in their masks."""

from __future__ import annotations

import numpy as np

from skipsearch.data.mapped import chunks
from skipsearch.data.source import Array
from skipsearch.data.split import Split
from skipsearch.task import MULTI_LABEL, SEGMENTATION, Task


def strata_of(split: Split, task: Task, classes: int) -> Array | None:
    """Return the class (N,) of each image, or which labels or classes of pixels it has (N, K).

    Args:
        split: Images with their labels or masks, on the CPU.
        task: Task of the networks.
        classes: Number of classes or labels.

    Returns:
        Integers, or boolean values; None for tasks without classes.
    """
    if task.classifies:
        return split.class_labels.numpy()
    if task.name == MULTI_LABEL.name:
        return split.class_labels.numpy().astype(bool)
    if task.name != SEGMENTATION.name:
        return None
    pixels = (
        np.bincount(mask.ravel(), minlength=classes)[:classes]
        for chunk in chunks(split.labels)
        for mask in chunk.numpy()
    )
    return np.stack(list(pixels)) > 0
