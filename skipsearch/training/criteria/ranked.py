"""The part of a criterion whose score is that of a ranking of all images."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from skipsearch.training.criteria.criterion import Criterion
from skipsearch.training.criteria.ranking import Score


class Ranked(Criterion, Protocol):
    """A criterion whose score is the mean over classes or labels of a score of a ranking.

    Its tallies are collected: the outputs and the target of every image. They take four bytes for
    each output and image, of the training images of an epoch too.

    Attributes:
        ranking: Score of a ranking, such as ``auroc``.
    """

    collects: bool = True
    ranking: Score

    def ranked(self, tallies: Tensor) -> tuple[Tensor, Tensor]:
        """Return confidences and truth (images, classes) from the tallies (images, ...)."""

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean over the classes for which the score is defined."""
        once = torch.ones(1, images, dtype=torch.float64, device=tally.device)
        return [score for each in tally.unbind(1) for score in self._means(each, once)]

    def resampled(self, tallies: Tensor, weights: Tensor) -> list[float]:
        """Return the score on each of several resamples of the images."""
        return self._means(tallies.cpu(), weights)

    def _means(self, tallies: Tensor, weights: Tensor) -> list[float]:
        means: list[float] = self.ranking(*self.ranked(tallies), weights).nanmean(1).tolist()
        return means
