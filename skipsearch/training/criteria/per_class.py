"""Scores of classification in which every class, or every label, has equal weight."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from skipsearch.metric import BALANCED_ACCURACY, MACRO_F1

RIGHT, TRUE, FOUND = 0, 1, 2  # rows of the counts


def class_counts(found: Tensor, target: Tensor, classes: int) -> Tensor:
    """Return, for each image and class, whether it is right, true and found.

    Args:
        found: Predicted classes (n, networks).
        target: True classes (n, networks).
        classes: Number of classes.

    Returns:
        Counts (n, networks, 3, classes), int64, each 0 or 1.
    """
    # Not F.one_hot: on a GPU it would wait for the device, and a step could not be recorded.
    every = torch.arange(classes, device=target.device)
    return label_counts(found[..., None] == every, target[..., None] == every)


def label_counts(found: Tensor, target: Tensor) -> Tensor:
    """Return, for each image and label, whether it is right, true and found.

    Args:
        found: Whether a label is predicted (n, networks, labels).
        target: Whether an image has it (n, networks, labels).

    Returns:
        Counts (n, networks, 3, labels), int64, each 0 or 1.
    """
    return torch.stack([target & found, target, found], dim=-2).long()


def recalls(counts: Tensor) -> Tensor:
    """Return the recall of each class; NaN for a class that no image has.

    Args:
        counts: Sums (..., 3, classes) of ``class_counts``.

    Returns:
        Recalls (..., classes), float64.
    """
    counts = counts.double()
    return counts[..., RIGHT, :] / counts[..., TRUE, :]


def precisions(counts: Tensor) -> Tensor:
    """Return the precision of each class; NaN for a class that is never found. See ``recalls``."""
    counts = counts.double()
    return counts[..., RIGHT, :] / counts[..., FOUND, :]


def f1_scores(counts: Tensor) -> Tensor:
    """Return the F1 score of each class; NaN for one that is neither true nor found."""
    counts = counts.double()
    return 2 * counts[..., RIGHT, :] / (counts[..., TRUE, :] + counts[..., FOUND, :])


CLASS_SCORES: Mapping[str, Callable[[Tensor], Tensor]] = {
    BALANCED_ACCURACY.name: recalls,
    MACRO_F1.name: f1_scores,
}


def balanced_weights(labels: Tensor, classes: int) -> Tensor:
    """Return the weight of each class, inversely proportional to its number of images.

    The mean weight of the images is 1, as with ``class_weight="balanced"`` in scikit-learn. A class
    without images has the weight 1.

    Args:
        labels: Labels (N,).
        classes: Number of classes.

    Returns:
        Weights (classes,), float32.
    """
    counts = labels.bincount(minlength=classes).double()
    there = counts > 0
    return (len(labels) / (there.sum() * counts)).where(there, 1.0).float()


def positive_weights(labels: Tensor) -> Tensor:
    """Return the weight of the images with each label, relative to those without it.

    It is the number of images without the label over that of images with it, so that both sides
    have the same weight in the loss.

    Args:
        labels: Labels (N, K), 0 or 1.

    Returns:
        Weights (K,), float32; 1 for a label that no image has, which some folds of a rare label
        are without.
    """
    positives = labels.double().sum(0)
    return ((len(labels) - positives) / positives).where(positives > 0, 1.0).float()
