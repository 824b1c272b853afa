"""Images of each training step, and their augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from skipsearch.data import Data, draw
from skipsearch.recipe import Recipe

KEYS = 2**63 - 1  # number of possible keys of noise


class Batches:
    """The random draws of every step, which depend only on seed, pass and index.

    They are drawn on the CPU, one pass over the data at a time, so that they are independent of
    device, precision and training method.

    Args:
        data: Data set, whose training split is used.
        recipe: Recipe with the data set's conventions filled in.
        seeds: Seed of each network that trains on these batches.
    """

    def __init__(self, data: Data, recipe: Recipe, seeds: Sequence[int]) -> None:
        self.size = min(recipe.batch_size, len(data.train))
        self.a_pass = len(data.train) // self.size  # steps; the remaining images are left out
        self._data = data
        self._crop = recipe.crop or 0
        self._seeds = tuple(seeds)
        self._drawn: tuple[int, Tensor, Tensor] | None = None  # the current pass

    def __getitem__(self, step: int) -> Tensor:
        """Return the draws of a step, counted from the start of the training.

        Returns:
            Draws (rows, size, networks), int64, on the data's device: index of the image in the
            training split, or if that is mapped in the batch of ``index``; then the five rows of
            ``data.draw``, then a key for each image if the task adds noise.
        """
        number, position = divmod(step, self.a_pass)
        return self._pass(number)[1][position]

    def index(self, step: int) -> Tensor:
        """Return the index (size * networks,) in the training split of the images of a step.

        It is on the CPU, and as the draws in the order of images and then networks.
        """
        number, position = divmod(step, self.a_pass)
        return self._pass(number)[0][position]

    def _pass(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the indices (steps, size * networks) and the draws of a pass."""
        if self._drawn is None or self._drawn[0] != number:
            drawn = self._draw(number)
            index = drawn[:, 0].flatten(1).clone()
            if self._data.train.is_mapped:
                drawn[:, 0] = torch.arange(index.shape[1]).view(drawn.shape[2:])
            device = self._data.train.images.device
            self._drawn = number, index, drawn.to(device, non_blocking=True)
        return self._drawn[1:]

    def _draw(self, number: int) -> Tensor:
        """Return the draws of a pass: (steps, rows, size, networks)."""
        images = self._data.train.images
        count, _, height, width = images.shape
        each = []
        for seed in self._seeds:
            generator = torch.Generator().manual_seed(stream(seed, "batches", number))
            order = torch.randperm(count, generator=generator)
            rows = [order[None], draw(count, height, width, generator, crop=self._crop)]
            if self._data.task.restores:  # drawn last: other tasks keep their draws
                rows.append(torch.randint(KEYS, (1, count), generator=generator))
            each.append(torch.cat(rows)[:, : self.a_pass * self.size])
        drawn = torch.stack(each, dim=2).view(-1, self.a_pass, self.size, len(each))
        drawn = drawn.transpose(0, 1).contiguous()
        return drawn.pin_memory() if images.device.type == "cuda" else drawn


def stream(seed: int, purpose: str, number: int) -> int:
    """Return the seed of an independent random stream for one purpose and number."""
    digest = blake2b(f"{seed} {purpose} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 2**63
