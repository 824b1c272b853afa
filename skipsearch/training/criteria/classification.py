"""Classification: cross-entropy, and the share of images that are classified correctly."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.criterion import Figures


class ClassificationCriterion:
    """Criterion of classification; see ``Criterion``.

    Args:
        data: Data set.
        recipe: Recipe of the training.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        self._labels, self._classes = data.train.labels, data.classes

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels as they are."""
        return images, labels

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy (n, networks) of logits (n, networks, classes)."""
        losses = F.cross_entropy(
            outputs.flatten(0, 1),
            target.flatten(),
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return losses.view(target.shape)

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks,)."""
        return torch.zeros(networks, device=self._labels.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return whether each image is classified correctly (n, networks)."""
        return outputs.argmax(2) == target

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the accuracies."""
        return [correct / images for correct in tally.tolist()]

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return no further figures."""
        return Figures()

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes) of the most frequent class in training."""
        counts = self._labels.bincount(minlength=self._classes)
        return F.one_hot(counts.argmax(), self._classes).float().expand(len(inputs), -1)
