"""Confusion matrices, and scores computed from them: intersection over union, and Dice."""

from __future__ import annotations

import torch
from torch import Tensor

from skipsearch.data.split import IGNORED


def confusion(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Return the number of pixels for each pair of true and predicted class.

    Args:
        found: Predicted classes (n, networks, H, W), int64.
        target: True classes, or ``IGNORED``, (n, networks, H, W), int64.
        classes: Number of classes.

    Returns:
        Counts (n, networks, true classes, predicted classes), int64.
    """
    images = target.shape[0] * target.shape[1]
    cells = images * classes**2
    first = torch.arange(0, cells, classes**2, device=target.device).view(*target.shape[:2], 1, 1)
    cell = (first + target * classes + found).where(target != IGNORED, cells)  # last: ignored
    # Not torch.bincount: on a GPU it waits for the result, so a step could not be recorded.
    counts = torch.zeros(cells + 1, dtype=torch.int64, device=target.device)
    cell = cell.flatten()
    counts.scatter_add_(0, cell, torch.ones_like(cell))
    return counts[:-1].view(*target.shape[:2], classes, classes)


def overlaps(confusion: Tensor) -> Tensor:
    """Return the IoU of each class: TP / (TP + FP + FN); NaN for a class that is absent.

    Args:
        confusion: Counts (..., true classes, predicted classes).

    Returns:
        IoU (..., classes), float64.
    """
    both, either = _both_and_sum(confusion)
    return both / (either - both)


def dices(confusion: Tensor) -> Tensor:
    """Return the Dice coefficient of each class: 2 TP / (2 TP + FP + FN); see ``overlaps``."""
    both, either = _both_and_sum(confusion)
    return 2 * both / either


def mean_over_present(figures: Tensor) -> Tensor:
    """Return the mean over the classes that occur in truth or prediction; NaN if there are none.

    Args:
        figures: Figures (..., classes).
    """
    return figures.nanmean(-1)


def _both_and_sum(confusion: Tensor) -> tuple[Tensor, Tensor]:
    counts = confusion.double()
    return counts.diagonal(dim1=-2, dim2=-1), counts.sum(-1) + counts.sum(-2)
