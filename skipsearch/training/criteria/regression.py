"""Regression: Huber loss of standardised targets, and R2, RMSE or MAE."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data import Data
from skipsearch.metric import MAE, R2, RMSE
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.criterion import Figures, Summed

SQUARES, ABSOLUTES, TARGETS, TARGET_SQUARES = range(4)  # rows of the tallies
LEAST_VARIANCE = 1e-12  # share of the mean square, below which a target is constant


class RegressionCriterion(Summed):
    """Criterion of regression; see ``Criterion``.

    Outputs and targets are standardised: the training targets have mean 0 and standard deviation 1.

    Args:
        data: Data set, with targets.
        recipe: Recipe of the training.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        self._names, device = data.class_names, data.train.images.device
        self._metric = data.task.metric
        self._mean = torch.tensor(data.target_mean, dtype=torch.float64, device=device)
        self._std = torch.tensor(data.target_std, dtype=torch.float64, device=device)
        self._train = data.train

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return images as they are, and standardised targets (N, targets) as float32."""
        return images, ((labels - self._mean) / self._std).float()

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the Huber loss (n, networks), the mean over the targets.

        It is half the squared error up to a standard deviation, and linear beyond (Huber 1964,
        doi:10.1214/aoms/1177703732). Like that of a cross-entropy, its gradient is bounded:
        gradients of squared errors grow with the errors, so that layouts diverge at learning
        rates that are common for classification.
        """
        return F.huber_loss(outputs, target, reduction="none").mean(2)

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, 4, targets)."""
        shape = (networks, 4, len(self._names))
        return torch.zeros(shape, dtype=torch.float64, device=self._mean.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return squared and absolute error, target, and its square (n, networks, 4, targets)."""
        target = target.double()
        error = outputs.double() - target
        return torch.stack([error.square(), error.abs(), target, target.square()], dim=2)

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean over the targets of R2, unless they are constant, or minus the error."""
        of_targets = FIGURES[self._metric.name](tally, images, self._std.to(tally.device))
        return [self._metric.value(value) for value in of_targets.nanmean(-1).tolist()]

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return R2 of each target, and its RMSE and MAE in its own unit."""
        each = {name: figure(tally, images, self._std) for name, figure in FIGURES.items()}
        return Figures(
            classes={
                name: dict(zip(self._names, values.tolist(), strict=True))
                for name, values in each.items()
            }
        )

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return the mean of each target in training, or for MAE its median, (N, targets)."""
        constant = torch.zeros_like(self._mean)
        if self._metric.name == MAE.name:
            median = self._train.class_labels.double().median(dim=0).values
            constant = (median - self._mean) / self._std
        return constant.float().expand(len(inputs), -1)


def r2(tally: Tensor, images: int, std: Tensor) -> Tensor:
    """Return the coefficient of determination of each target; NaN for a constant one.

    Args:
        tally: Sums (..., 4, targets) of the tallies of all images.
        images: Number of images.
        std: Standard deviation (targets,) of each target in training.

    Returns:
        Coefficients (..., targets), float64, at most 1.
    """
    squares = tally[..., TARGET_SQUARES, :]
    around_mean = squares - tally[..., TARGETS, :].square() / images
    found = 1 - tally[..., SQUARES, :] / around_mean
    return found.where(around_mean > LEAST_VARIANCE * squares, torch.nan)


def rmse(tally: Tensor, images: int, std: Tensor) -> Tensor:
    """Return the root of the mean squared error of each target, in its unit; see ``r2``."""
    return (tally[..., SQUARES, :] / images).sqrt() * std


def mae(tally: Tensor, images: int, std: Tensor) -> Tensor:
    """Return the mean absolute error of each target, in its unit; see ``r2``."""
    return tally[..., ABSOLUTES, :] / images * std


FIGURES: Mapping[str, Callable[[Tensor, int, Tensor], Tensor]] = {
    R2.name: r2,
    RMSE.name: rmse,
    MAE.name: mae,
}
