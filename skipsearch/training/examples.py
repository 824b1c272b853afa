"""Examples for networks: the inputs and targets of a batch of images."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from skipsearch.data import Data, Split, augment, normalise
from skipsearch.data.split import IGNORED
from skipsearch.recipe import Recipe
from skipsearch.training.criteria import Criterion
from skipsearch.training.prefetching import Prefetcher


class Examples:
    """Source of inputs and targets on the data's device.

    Args:
        data: Data set.
        recipe: Recipe with the data set's conventions filled in.
        criterion: Criterion of the task.
    """

    def __init__(self, data: Data, recipe: Recipe, criterion: Criterion) -> None:
        device = data.train.images.device
        self._split = data.train
        self._loaded: tuple[Tensor, Tensor] | None = None
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

    def load(self, images: Tensor, labels: Tensor) -> None:
        """Replace the batch that draws refer to, if the training split is mapped.

        Its place in memory stays the same, so that a recorded step reads the new batch.

        Args:
            images: Images (N, C, H, W) on the device, as many for each step.
            labels: Their labels (N, ...).
        """
        if self._loaded is None:
            self._loaded = torch.empty_like(images), torch.empty_like(labels)
            self._split = Split(*self._loaded)
        for place, new in zip(self._loaded, (images, labels), strict=True):
            place.copy_(new)

    def augmented(self, draws: Tensor) -> tuple[Tensor, Tensor]:
        """Return the augmented examples of a training step.

        Args:
            draws: Draws (rows, n, networks) of ``Batches``.

        Returns:
            Inputs (n, networks * C, H, W) and targets (n, networks, ...).
        """
        rows = draws.flatten(1)
        index, moves, keys = rows[0], rows[1:6], rows[-1]  # keys: only if the task needs them
        assert not self._split.is_mapped, "expected a batch"
        images, labels = self._split.batch(index)
        images = self._augment(self._normalised(images), moves)
        if self._with_masks:
            labels = self._augment(labels[:, None], moves, IGNORED)[:, 0]
        images, target = self._criterion.pose(images, labels, keys)
        inputs = images.view(draws.shape[1], -1, *images.shape[2:])
        target = target.view(*draws.shape[1:], *target.shape[1:])
        return inputs.contiguous(memory_format=torch.channels_last), target

    def of(self, split: Split | Prefetcher, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images of a split without augmentation.

        Random numbers depend only on the index of an image.

        Args:
            split: Split on the data's device.
            index: Index (n,) of each image, see ``Split.batch``.

        Returns:
            Inputs (n, C, H, W) and targets (n, ...).
        """
        images, labels = split.batch(index)
        keys = index.to(images.device, non_blocking=True)
        return self._criterion.pose(self._normalised(images), labels, keys)

    def _normalised(self, images: Tensor) -> Tensor:
        return normalise(images, self._mean, self._std, torch.float32)
