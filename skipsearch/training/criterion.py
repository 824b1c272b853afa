"""Loss and score of a task, computed from the outputs of a network or of several at once."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.table import Table
from skipsearch.task import CLASSIFICATION


class Criterion(Protocol):
    """What a training asks of a task. Nothing here reads back from the device."""

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of each image.

        Args:
            outputs: (n, networks, ...) of the networks, in float32.
            target: (n, networks, ...) as the data set has it.
            label_smoothing: Share of the target that is spread over all classes.

        Returns:
            (n, networks)
        """

    def no_tally(self, networks: int, classes: int, device: torch.device) -> Tensor:
        """Return the tally (networks, ...) of no images."""

    def tally(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Count what the score is computed from, summed over the images.

        Args:
            outputs: As for ``losses``.
            target: As for ``losses``.

        Returns:
            (networks, ...) counts, to be added up over batches.
        """

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the score of each network.

        Args:
            tally: Sum of what ``tally`` returned.
            images: Number of images that were counted.
        """


class ClassificationCriterion:
    """Cross-entropy and the share of images that are classified correctly."""

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the cross-entropy (n, networks) of logits (n, networks, classes)."""
        losses = F.cross_entropy(
            outputs.flatten(0, 1),
            target.flatten(),
            reduction="none",
            label_smoothing=label_smoothing,
        )
        return losses.view(target.shape)

    def no_tally(self, networks: int, classes: int, device: torch.device) -> Tensor:
        """Return zeros (networks,)."""
        return torch.zeros(networks, device=device)

    def tally(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the number of correct images (networks,)."""
        return (outputs.argmax(2) == target).sum(0)

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the accuracies."""
        return [correct / images for correct in tally.tolist()]


CRITERIA: Table[Criterion] = Table("task", {CLASSIFICATION.name: ClassificationCriterion()})
