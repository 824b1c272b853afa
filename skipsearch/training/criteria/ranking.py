"""Scores of a ranking of the images: area under the ROC curve, and average precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from skipsearch.metric import AUROC, MEAN_AVERAGE_PRECISION

Score = Callable[[Tensor, Tensor, Tensor], Tensor]


def auroc(confidences: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the area under the ROC curve of each class; images with equal confidence are tied.

    Args:
        confidences: Confidence (images, classes) that an image has a class.
        truth: Whether it has it (images, classes).
        weights: Weight of each image (resamples, images).

    Returns:
        Areas (resamples, classes), float64; NaN for a class that no image or every image has.
    """
    areas = []
    for hits, seen in _curves(confidences, truth, weights):
        misses = seen - hits
        steps = misses.diff(prepend=misses.new_zeros(len(misses), 1))
        before = hits - hits.diff(prepend=hits.new_zeros(len(hits), 1)) / 2
        areas.append((steps * before).sum(1) / (hits[:, -1] * misses[:, -1]))
    return torch.stack(areas, dim=1)


def average_precision(confidences: Tensor, truth: Tensor, weights: Tensor) -> Tensor:
    """Return the average precision of each class: the precisions, weighted by the gain in recall.

    Args:
        confidences: Confidence (images, classes) that an image has a class.
        truth: Whether it has it (images, classes).
        weights: Weight of each image (resamples, images).

    Returns:
        Average precisions (resamples, classes), float64; NaN for a class that no image has.
    """
    found = []
    for hits, seen in _curves(confidences, truth, weights):
        gains = hits.diff(prepend=hits.new_zeros(len(hits), 1))
        precisions = (hits / seen).where(seen > 0, 0.0)
        found.append((gains * precisions).sum(1) / hits[:, -1])
    return torch.stack(found, dim=1)


RANKINGS: Mapping[str, Score] = {AUROC.name: auroc, MEAN_AVERAGE_PRECISION.name: average_precision}


def _curves(confidences: Tensor, truth: Tensor, weights: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield, for each class, the sums of the images at or above each confidence.

    Yields:
        Weight of the images with the class, and of all, at or above each distinct confidence from
        the highest on (resamples, confidences), float64.
    """
    for confidence, has_class in zip(confidences.T, truth.T, strict=True):
        order = confidence.argsort(descending=True)
        ranked = confidence[order]
        is_last = torch.ones_like(ranked, dtype=torch.bool)  # of the images with a confidence
        is_last[:-1] = ranked[1:] != ranked[:-1]
        weight = weights[:, order].double()
        hits = (weight * has_class[order]).cumsum(1)
        yield hits[:, is_last], weight.cumsum(1)[:, is_last]
