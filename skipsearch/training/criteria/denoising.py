"""Denoising: mean squared error, and the peak signal-to-noise ratio."""

from __future__ import annotations

import torch
from torch import Tensor

from skipsearch.data import Data
from skipsearch.data.noise import noise
from skipsearch.recipe import Recipe
from skipsearch.training.criteria.criterion import Figures, Summed
from skipsearch.training.criteria.similarity import psnr, ssim


class DenoisingCriterion(Summed):
    """Criterion of denoising; see ``Criterion``.

    Outputs and targets are normalised images. The noise is not clipped, as in Zhang et al. 2017
    (DnCNN, arXiv:1608.03981).

    Args:
        data: Data set, with the deviation of the noise.
        recipe: Recipe of the training.
    """

    def __init__(self, data: Data, recipe: Recipe) -> None:
        device = data.train.images.device
        self._mean = torch.tensor(data.mean, device=device)[:, None, None]
        self._std = torch.tensor(data.std, device=device)[:, None, None]
        self._amount = data.sigma / 255 / self._std  # in units of normalised images

    def pose(self, images: Tensor, labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        """Return noisy images, and the images as their targets."""
        return images + self._amount * noise(keys, images.shape[1:]), images

    def losses(self, outputs: Tensor, target: Tensor, label_smoothing: float = 0.0) -> Tensor:
        """Return the mean squared error (n, networks) of images (n, networks, C, H, W)."""
        return (outputs - target).square().mean((2, 3, 4))

    def no_tally(self, networks: int) -> Tensor:
        """Return zeros (networks, 1)."""
        return torch.zeros(networks, 1, dtype=torch.float64, device=self._mean.device)

    def tally(self, outputs: Tensor, target: Tensor, complete: bool = False) -> Tensor:
        """Return the PSNR of each image, and if complete its SSIM (n, networks, 1 or 2)."""
        found, truth = self._pixels(outputs).clamp(0, 1), self._pixels(target)
        tallies = [psnr(found, truth)]
        if complete:
            tallies.append(ssim(found, truth))
        return torch.stack(tallies, dim=2).double()

    def _pixels(self, images: Tensor) -> Tensor:
        """Return normalised images in units of 0..1."""
        return images * self._std + self._mean

    def scores(self, tally: Tensor, images: int) -> list[float]:
        """Return the mean PSNR of the images."""
        return [decibels / images for decibels in tally[:, 0].tolist()]

    def figures(self, tally: Tensor, images: int) -> Figures:
        """Return the mean SSIM of the images."""
        return Figures({"ssim": tally[1].item() / images})

    def nothing(self, inputs: Tensor) -> Tensor:
        """Return the noisy images."""
        return inputs
