"""The interface of a criterion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, Protocol

from torch import Tensor


class Figures(NamedTuple):
    """Further figures of a network besides its score.

    Attributes:
        whole: Figures over all images, by name.
        classes: Figures of each class, by name of figure and class; NaN for a class that is absent.
    """

    whole: Mapping[str, float] = {}
    classes: Mapping[str, Mapping[str, float]] = {}


class Criterion(Protocol):
    """Inputs and targets, loss and score of a task, for one or several networks.

    A criterion is created from the data and the recipe of a training. Only this creation,
    ``scores``, ``resampled`` and ``figures`` transfer data from the device.

    Attributes:
        collects: Whether ``scores`` needs the tallies of all images, not their sum, as the metrics
            of a ranking do.
    """

    collects: bool

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs (N, C, H, W) of a network, and their targets (N, ...).

        Args:
            images: Normalised images (N, C, H, W).
            labels: Labels (N, ...) of the split.
            keys: Key (N,) of each image for random numbers, int64.
        """

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return a loss for each image, whose mean is the loss of the batch.

        Args:
            outputs: Outputs (n, networks, ...) in float32.
            target: Targets (n, networks, ...).
            label_smoothing: Share of the target that is spread over all classes.

        Returns:
            Losses (n, networks).
        """

    def no_tally(self, networks: int) -> Tensor:
        """Return the tally (networks, ...) of zero images.

        Args:
            networks: Number of networks.
        """

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the tally of each image, such as counts, that the score is computed from.

        Args:
            outputs: Outputs as for ``losses``.
            target: Targets as for ``losses``.
            complete: Whether to add what only ``figures`` needs.

        Returns:
            Tallies (n, networks, ...), which are summed over images or, if the criterion collects,
            concatenated.
        """

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the score of each network.

        Args:
            tally: Sum (networks, ...) of the tallies of all images; if the criterion collects, the
                tallies (images, networks, ...) themselves.
            images: Number of images.
        """

    def resampled(self, tallies: Tensor, weights: Tensor) -> list[float]:
        """Return the score of one network on each of several resamples of the images.

        Args:
            tallies: Tally (images, ...) of each image.
            weights: How often each resample has each image (resamples, images), float64, on the
                CPU. Resamples of whole groups may have more or fewer images than there are.
        """

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return further figures of one network.

        Args:
            tally: Sum (...) of its complete tallies of all images; if the criterion collects, the
                tallies (images, ...) themselves.
            images: Number of images.
        """

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return the outputs (N, ...) of the baseline, which learns nothing from images.

        Args:
            inputs: Inputs (N, C, H, W) of a network.
        """


class Summed(Criterion, Protocol):
    """A criterion whose score is computed from the sum of the tallies of all images."""

    collects: bool = False

    def resampled(self, tallies: Tensor, weights: Tensor) -> list[float]:
        """Return the score on each of several resamples of the images."""
        sums, images = weighted_sums(tallies, weights).unsqueeze(1), weights.sum(1).int().tolist()
        return [self.scores(*each)[0] for each in zip(sums.unbind(), images, strict=True)]


def weighted_sums(tallies: Tensor, weights: Tensor) -> Tensor:
    """Return sums (resamples, ...) of tallies (images, ...) with weights (resamples, images)."""
    sums = weights @ tallies.reshape(len(tallies), -1).double().cpu()
    return sums.view(len(weights), *tallies.shape[1:])
