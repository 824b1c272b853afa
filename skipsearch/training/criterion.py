"""Loss and score of a task, computed from the outputs of one or several networks."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.table import Table
from skipsearch.task import CLASSIFICATION


class Criterion(Protocol):
    """Loss and score of a task. Only ``scores`` transfers data from the device."""

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of each image.

        Args:
            outputs: Outputs (n, networks, ...) in float32.
            target: Targets (n, networks, ...) of the data set.
            label_smoothing: Share of the target that is spread over all classes.

        Returns:
            Losses (n, networks).
        """

    def no_tally(self, networks: int, classes: int, device: torch.device) -> Tensor:
        """Return the counts (networks, ...) of zero images."""

    def tally(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the counts that the score is computed from, summed over the images.

        Args:
            outputs: Outputs as for ``losses``.
            target: Targets as for ``losses``.

        Returns:
            Counts (networks, ...), which are summed over batches.
        """

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the score of each network.

        Args:
            tally: Sum of the counts of all batches.
            images: Number of counted images.
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
        """Return the number of correctly classified images (networks,)."""
        return (outputs.argmax(2) == target).sum(0)

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the accuracies."""
        return [correct / images for correct in tally.tolist()]


CRITERIA: Table[Criterion] = Table("task", {CLASSIFICATION.name: ClassificationCriterion()})
