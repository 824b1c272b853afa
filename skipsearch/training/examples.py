"""Examples for networks: the inputs and targets of a batch of images."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from skipsearch.data import Data, Split, augment, normalise
from skipsearch.data.split import IGNORED
from skipsearch.recipe import Recipe
from skipsearch.training.criteria import Criterion
from skipsearch.training.prefetching import Prefetcher, prefetched


class Examples:
    """Source of inputs and targets on the data's device.

    Args:
        data: Data set.
        recipe: Recipe with the data set's conventions filled in.
        criterion: Criterion of the task.
    """

    def __init__(self, data: Data, recipe: Recipe, criterion: Criterion) -> None:
        device = data.train.images.device
        self._split = prefetched(data.train)
        self._with_masks = data.train.labels.ndim == 3
        self._mean = torch.tensor(data.mean, device=device)
        self._std = torch.tensor(data.std, device=device)
        self._augment = partial(
            augment,
            crop=recipe.crop or 0,
            flip=bool(recipe.flip),
            cutout=recipe.cutout or 0,
        )
        self._criterion = criterion

    def augmented(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return the augmented examples of a training step.

        Args:
            draws: Draws (rows, n, networks) of ``Batches``.

        Returns:
            Inputs (n, networks * C, H, W) and targets (n, networks, ...).
        """
        rows = draws.flatten(1)
        index, moves, keys = rows[0], rows[1:6], rows[-1]  # keys: only if the task needs them
        images, labels = self._split.batch(index)
        images = self._augment(self._normalised(images), moves)
        if self._with_masks:
            labels = self._augment(labels[:, None], moves, IGNORED)[:, 0]
        images, target = self._criterion.pose(images, labels, keys)
        inputs = images.view(draws.shape[1], -1, *images.shape[2:])
        target = target.view(*draws.shape[1:], *target.shape[1:])
        return inputs.contiguous(memory_format=torch.channels_last), target

    def prefetch(self, draws: Tensor) -> None:
        """Start to read the images of a later call of ``augmented``, if they are mapped.

        Args:
            draws: Draws (rows, n, networks) of ``Batches``.
        """
        if isinstance(self._split, Prefetcher):
            self._split.prefetch(draws.flatten(1)[0])

    def of(self, split: Split | Prefetcher, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images of a split without augmentation.

        Random numbers depend only on the index of an image.

        Args:
            split: Split on the data's device.
            index: Index (n,) of each image.

        Returns:
            Inputs (n, C, H, W) and targets (n, ...).
        """
        images, labels = split.batch(index)
        return self._criterion.pose(self._normalised(images), labels, index)

    def _normalised(self, images: Tensor) -> Tensor:
        return normalise(images, self._mean, self._std, torch.float32)
