"""Which images each step trains on, and how they are augmented."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import torch
from torch import Tensor

from skipsearch.data import Data, draw
from skipsearch.recipe import Recipe


class Batches:
    """The draws of every step: a function of seed, pass and index alone.

    They are drawn on the CPU, a whole pass over the data at once, so that no device, precision or
    way of training changes them.

    Args:
        data: Of its training split.
        recipe: With the data set's conventions filled in.
        seeds: One of each network that trains on these batches at once.
    """

    def __init__(self, data: Data, recipe: Recipe, seeds: Sequence[int]) -> None:
        self.size = min(recipe.batch_size, len(data.train))
        self.a_pass = len(data.train) // self.size  # steps; what is left over is another's turn
        self._data = data
        self._crop = recipe.crop or 0
        self._seeds = tuple(seeds)
        self._drawn: tuple[int, Tensor] | None = None  # the pass at hand

    def __getitem__(self, step: int) -> Tensor:
        """Return the draws of a step, counted from the first of the training.

        Returns:
            (6, size, networks) int64 on the data's device: the image's index in the training
            split, then the rows of ``data.draw``.
        """
        number, position = divmod(step, self.a_pass)
        if self._drawn is None or self._drawn[0] != number:
            device = self._data.train.images.device
            self._drawn = number, self._draw(number).to(device, non_blocking=True)
        return self._drawn[1][position]

    def _draw(self, number: int) -> Tensor:
        """Draw a pass: (steps, 6, size, networks)."""
        images = self._data.train.images
        count, _, height, width = images.shape
        each = []
        for seed in self._seeds:
            generator = torch.Generator().manual_seed(stream(seed, "batches", number))
            order = torch.randperm(count, generator=generator)
            draws = draw(count, height, width, generator, crop=self._crop)
            each.append(torch.cat([order[None], draws])[:, : self.a_pass * self.size])
        drawn = torch.stack(each, dim=2).view(6, self.a_pass, self.size, len(each))
        drawn = drawn.transpose(0, 1).contiguous()
        return drawn.pin_memory() if images.is_cuda else drawn


def stream(seed: int, purpose: str, number: int) -> int:
    """Return a seed for one purpose and moment; no two share their random numbers."""
    digest = blake2b(f"{seed} {purpose} {number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % 2**63
