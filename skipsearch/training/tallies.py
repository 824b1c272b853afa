"""The tallies of the images of an epoch or a split, from which scores are computed."""

from __future__ import annotations

import torch
from torch import Tensor

from skipsearch.training.criteria import Criterion


class Tallies:
    """Tallies of several networks: their sum or, if the criterion collects, all of them.

    They keep their place in memory and transfer nothing from the device, so that a step that adds
    to them can be recorded.

    Args:
        criterion: Criterion of the task.
        networks: Number of networks.
        images: Largest number of images.
    """

    def __init__(self, criterion: Criterion, networks: int, images: int) -> None:
        self._criterion = criterion
        self._values = criterion.no_tally(networks)
        if criterion.collects:
            self._values = self._values.new_zeros(images, *self._values.shape)
        self._count = torch.zeros((), dtype=torch.int64, device=self._values.device)

    def add(self, tallies: Tensor) -> None:
        """Add the tallies (n, networks, ...) of a batch."""
        if not self._criterion.collects:
            self._values += tallies.sum(0)
            return
        places = self._count + torch.arange(len(tallies), device=tallies.device)
        self._values.index_copy_(0, places, tallies.to(self._values.dtype))
        self._count += len(tallies)

    def reset(self) -> None:
        """Remove all tallies."""
        self._values.zero_()
        self._count.zero_()

    def scores(self, images: int) -> list[float]:
        """Return the score of each network.

        Args:
            images: Number of images that were added.
        """
        values = self._values[:images] if self._criterion.collects else self._values
        return self._criterion.scores(values, images)
