"""Several labels for each image: binary cross-entropy, and scores of each label."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.criterion import Criterion, Figures, Summed
from skipsearch.training.criteria.per_class import (
    f1_scores,
    label_counts,
    positive_weights,
    precisions,
    recalls,
)
from skipsearch.training.criteria.ranked import Ranked
from skipsearch.training.criteria.ranking import RANKINGS, Score, auroc, average_precision


def multi_label_criterion(data: Data, recipe: Recipe) -> Criterion:
    """Return the criterion of the data's metric.

    Args:
        data: Data set.
        recipe: Recipe of the training.
    """
    if data.task.metric.name in RANKINGS:
        return RankedLabels(data, recipe)
    return MultiLabelCriterion(data, recipe)


class MultiLabelCriterion(Summed):
    """Criterion of several labels, judged by the mean F1 score at a probability of 0.5.

    Args:
        data: Data set, with matrices of labels.
        recipe: Recipe of the training, for its class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        self._labels, self._names = data.train.class_labels, data.class_names
        self._weights = None
        if recipe.class_weights != "none":
            self._weights = positive_weights(self._labels)

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return images as they are, and labels (N, labels) as float32."""
        return images, labels.float()

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the binary cross-entropy (n, networks), the mean over the labels."""
        losses = F.binary_cross_entropy_with_logits(
            outputs, target, reduction="none", pos_weight=self._weights
        )
        return losses.mean(2)

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, 3, labels)."""
        shape = (networks, 3, len(self._names))
        return torch.zeros(shape, dtype=torch.int64, device=self._labels.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the counts of each image (n, networks, 3, labels); see ``label_counts``."""
        return label_counts(outputs > 0, target > 0)

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean F1 score of the labels that are true or found."""
        scores: list[float] = f1_scores(tally).nanmean(-1).tolist()
        return scores

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return recall, precision and F1 score of each label."""
        each = {"recall": recalls, "precision": precisions, "f1": f1_scores}
        return Figures(
            classes={
                label: dict(zip(self._names, score(tally).tolist(), strict=True))
                for label, score in each.items()
            },
        )

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return logits (N, labels) of the frequency of each label in training."""
        return self._labels.double().mean(0).logit().float().expand(len(inputs), -1)


class RankedLabels(Ranked, MultiLabelCriterion):
    """Criterion of several labels, judged by a ranking of all images for each label.

    Args:
        data: Data set, whose metric is one of ``RANKINGS``.
        recipe: Recipe of the training, for its class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        super().__init__(data, recipe)
        self.ranking: Score = RANKINGS[data.task.metric.name]

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, 2 * labels)."""
        return torch.zeros(networks, 2 * len(self._names), device=self._labels.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the logits and the labels of each image (n, networks, 2 * labels)."""
        return torch.cat([outputs, target], dim=2)

    def ranked(self, tallies: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits, which rank images as probabilities do, and whether it has a label."""
        logits, target = tallies.chunk(2, dim=1)
        return logits, target > 0

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return the macro F1, and average precision, AUROC and F1 score of each label."""
        logits, truth = self.ranked(tally)
        once = torch.ones(1, images, dtype=torch.float64, device=tally.device)
        f1 = f1_scores(label_counts(logits > 0, truth).sum(0))
        each = {
            "average_precision": average_precision(logits, truth, once)[0],
            "auroc": auroc(logits, truth, once)[0],
            "f1": f1,
        }
        return Figures(
            {"macro_f1": f1.nanmean().item()},
            {
                name: dict(zip(self._names, values.tolist(), strict=True))
                for name, values in each.items()
            },
        )
