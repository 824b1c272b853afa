"""Segmentation: cross-entropy and Dice loss, and the mean intersection over union."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data
from skipsearch.data.mapped import Images
from skipsearch.data.split import IGNORED
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.confusion import confusion, dices, mean_over_present, overlaps
from skipsearch.training.criteria.criterion import Figures, Summed

LEAST = 1e-7  # smallest divisor
AT_ONCE = 64  # masks that are counted at once, to save memory


class SegmentationCriterion(Summed):
    """Criterion of segmentation; see ``Criterion``. ``IGNORED`` pixels are not counted.

    Args:
        data: Data set, with masks.
        recipe: Recipe of the training, for its loss and class weights.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        self._masks, self._names = data.train.labels, data.class_names
        self._cross_entropy = recipe.loss != "dice"
        self._dice = recipe.loss in ("dice", "both")
        self._weights = None
        if recipe.class_weights != "none":
            self._weights = median_frequency(self._counts)

    @cached_property
    def _counts(self) -> Tensor:
        """Number of pixels (N, classes) of each class in each training mask."""
        return class_counts(self._masks, len(self._names))

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and masks as they are."""
        return images, labels.long()

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the loss of the batch for each image (n, networks).

        Both losses are over all pixels of the batch, not means over images.

        Args:
            outputs: Logits (n, networks, classes, H, W).
            target: Masks (n, networks, H, W), int64.
            label_smoothing: Label smoothing of the cross-entropy.
        """
        loss = outputs.new_zeros(outputs.shape[1])
        if self._cross_entropy:
            loss = loss + cross_entropy(outputs, target, self._weights, label_smoothing)
        if self._dice:
            loss = loss + dice_loss(outputs, target)
        return loss.expand(len(outputs), -1)

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, classes, classes)."""
        classes = len(self._names)
        return torch.zeros(networks, classes, classes, dtype=torch.int64, device=self._masks.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the confusion matrix of each image (n, networks, classes, classes)."""
        return confusion(outputs.max(2).indices, target, outputs.shape[2])

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean IoU; 0 for masks without a labelled pixel."""
        scores: list[float] = mean_over_present(overlaps(tally)).nan_to_num(0.0).tolist()
        return scores

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return the share of correct pixels, the mean Dice, and IoU and Dice of each class."""
        iou, dice = overlaps(tally), dices(tally)
        right = tally.diagonal().sum() / tally.sum()
        return Figures(
            {"mean_dice": mean_over_present(dice).item(), "pixel_accuracy": right.item()},
            {
                "iou": dict(zip(self._names, iou.tolist(), strict=True)),
                "dice": dict(zip(self._names, dice.tolist(), strict=True)),
            },
        )

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return logits (N, classes, H, W) of the most frequent class of all training pixels."""
        most = self._counts.sum(0).argmax()
        logits = F.one_hot(most, len(self._names)).float()
        return logits[:, None, None].expand(len(inputs), -1, *inputs.shape[2:])


# --- losses --------------------------------------------------------------------------------------


def cross_entropy(
    outputs: Tensor, target: Tensor, weights: Tensor | None = None, label_smoothing: float = 0.0
) -> Tensor:
    """Return the mean cross-entropy over the pixels of a batch, as ``F.cross_entropy``.

    Args:
        outputs: Logits (n, networks, classes, H, W).
        target: Masks (n, networks, H, W), int64.
        weights: Weight (classes,) of each class; None for equal weights.
        label_smoothing: Share of the target that is spread over all classes.

    Returns:
        Losses (networks,); 0 if there is no labelled pixel.
    """
    losses = F.cross_entropy(
        outputs.flatten(0, 1),
        target.flatten(0, 1),
        weights,
        ignore_index=IGNORED,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    counted = target != IGNORED
    shares = counted.to(losses.dtype)
    if weights is not None:
        shares = shares * weights[target.where(counted, 0)]
    each = losses.view(target.shape).sum((0, 2, 3))
    return each / shares.sum((0, 2, 3)).clamp(min=LEAST)


def dice_loss(outputs: Tensor, target: Tensor) -> Tensor:
    """Return the soft Dice loss over the pixels of a batch.

    The loss of a class is 1 - 2 sum(p t) / sum(p + t), with the probabilities p and the truth t of
    all pixels, or 0 if the class has no pixel. The result is the mean over all classes (as in
    ``DiceLoss`` of segmentation_models_pytorch 0.6).

    Args:
        outputs: Logits (n, networks, classes, H, W).
        target: Masks (n, networks, H, W), int64.

    Returns:
        Losses (networks,).
    """
    counted = (target != IGNORED)[:, :, None]
    p = outputs.softmax(2) * counted
    truth = torch.zeros_like(p).scatter_(2, target[:, :, None].where(counted, 0), 1.0) * counted
    pixels = truth.sum((0, 3, 4))
    both, either = (p * truth).sum((0, 3, 4)), p.sum((0, 3, 4)) + pixels
    losses = (1 - 2 * both / either.clamp(min=LEAST)) * (pixels > 0)
    return losses.mean(1)


# --- frequencies of the classes ------------------------------------------------------------------


def class_counts(masks: Images, classes: int) -> Tensor:
    """Return the number of pixels of each class in each mask (N, classes).

    Args:
        masks: Masks (N, H, W), uint8.
        classes: Number of classes.
    """
    counts = []
    for start in range(0, len(masks), AT_ONCE):
        part = masks[start : start + AT_ONCE]
        first = torch.arange(0, 256 * len(part), 256, device=masks.device)
        cells = (first[:, None] + part.flatten(1)).flatten()
        counts.append(cells.bincount(minlength=256 * len(part)).view(-1, 256)[:, :classes])
    return torch.cat(counts)


def median_frequency(counts: Tensor) -> Tensor:
    """Return the weight of each class: the median of all frequencies, divided by its own.

    The frequency of a class is its share of the labelled pixels of the images that contain it
    (Eigen & Fergus 2015, arXiv:1411.4734). A class that no image contains has the weight 1.

    Args:
        counts: Number of pixels of each class in each mask (N, classes).

    Returns:
        Weights (classes,), float32.
    """
    counts = counts.double()
    labelled = (counts.sum(1, keepdim=True) * (counts > 0)).sum(0)
    frequencies = counts.sum(0) / labelled
    there = labelled > 0
    return (frequencies[there].quantile(0.5) / frequencies).where(there, 1.0).float()
