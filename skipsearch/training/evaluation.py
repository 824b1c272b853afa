"""Evaluation of one or several networks on a split of the data."""

from __future__ import annotations

from collections.abc import Callable, Generator

import torch
from torch import Tensor

from skipsearch.data import Split
from skipsearch.training.environment import kernels
from skipsearch.training.interleaving import Wait, finish, requested_so_far
from skipsearch.training.memory import is_out_of_memory
from skipsearch.training.prefetching import Prefetcher, prefetched
from skipsearch.training.step import Step
from skipsearch.training.tallies import Tallies

LARGEST_BATCH = (256, 2048)  # images on the CPU, where caches are small, and on a GPU
LARGEST_SIZE = 64 * 64  # pixels of an image; with larger images, batches have as many pixels


def images_at_once(pixels: int, device: torch.device) -> int:
    """Return the number of images that are computed at once without gradients.

    Args:
        pixels: Number of pixels of an image.
        device: Device of the images.
    """
    largest = LARGEST_BATCH[device.type == "cuda"]
    return max(1, largest * LARGEST_SIZE // max(pixels, LARGEST_SIZE))


class Evaluation:
    """Evaluation of loss and score of each network over a split.

    Args:
        step: Training step with the networks; it computes inputs, outputs and losses.
        networks: Number of networks that the step computes at once.
        pixels: Number of pixels of an image.
        batch_size: Batch size of the training. If memory is short, evaluation uses a smaller
            batch, but not a smaller one than training.
        parts: Number of parts that training divides a batch into.
        deterministic: Whether a GPU must reproduce the same bits.

    Attributes:
        size: Number of images in a batch.
    """

    def __init__(
        self,
        step: Step,
        *,
        networks: int,
        pixels: int,
        batch_size: int,
        parts: int,
        deterministic: bool,
    ) -> None:
        self._step = step
        self._networks = networks
        self._deterministic = deterministic
        largest = images_at_once(pixels, step.device)
        part = -(-batch_size // parts)
        self._least = min(LARGEST_BATCH[step.device.type == "cuda"], part)
        self.size = max(largest // parts, self._least)

    def steps(self, split: Split) -> Generator[Wait, None, tuple[list[float], list[float]]]:
        """Evaluate in evaluation mode, and yield after each batch, and before one that is not read.

        Args:
            split: Images and labels on the device.

        Returns:
            Mean loss and score of each network. The loss is the mean of the losses of the batches,
            weighted by their number of images; for the Dice loss and the cross-entropy with class
            weights or ignored pixels, this is not the loss of the whole split. The score is that of
            the whole split.
        """
        step, count = self._step, len(split)
        loss_sum = torch.zeros(self._networks, device=step.device)
        tallies = Tallies(step.criterion, self._networks, count)

        def take(losses: Tensor, counted: Tensor) -> None:
            loss_sum.add_(losses.sum(0))
            tallies.add(counted)

        yield from self._passed(split, take)
        yield requested_so_far(step.device)
        return [loss / count for loss in loss_sum.tolist()], tallies.scores(count)

    def tallies(self, split: Split) -> Tensor:
        """Return the complete tally of each image (images, networks, ...)."""
        found: list[Tensor] = []
        finish(self._passed(split, lambda _, counted: found.append(counted), complete=True))
        return torch.cat(found)

    def _passed(
        self, split: Split, take: Callable[[Tensor, Tensor], None], complete: bool = False
    ) -> Generator[Wait, None, None]:
        """Compute all batches; if memory runs out, they are halved.

        Args:
            split: Images and labels on the device.
            take: Function that takes losses (n, networks) and tally (n, networks, ...) of a batch.
            complete: Whether the tally is the complete one, see ``Criterion.tally``.
        """
        self._step.model.eval()
        source, start = prefetched(split), 0
        while start < len(split):
            if isinstance(source, Prefetcher):
                for later in range(start, min(start + 2 * self.size, len(split)), self.size):
                    source.prefetch(self._index(split, later))
                yield from source.ready(self._index(split, start))
            try:
                computed = self._batch(source, self._index(split, start), complete)
            except Exception as error:
                if not is_out_of_memory(error) or self.size <= self._least:
                    raise
                computed = None
            # Outside the handler, since the exception references tensors.
            if computed is None:
                self.size = max(self.size // 2, self._least)
            else:
                start += self.size
                take(*computed)
                yield None

    def _index(self, split: Split, start: int) -> Tensor:
        """Return the index of each image of the batch that starts with one of them."""
        end = min(start + self.size, len(split))
        where = "cpu" if split.is_mapped else self._step.device
        return torch.arange(start, end, device=where)

    def _batch(
        self, split: Split | Prefetcher, index: Tensor, complete: bool
    ) -> tuple[Tensor, Tensor]:
        step = self._step
        # Not tuned: trying kernels for each shape costs more than one pass gains.
        with torch.no_grad(), kernels(step.device, self._deterministic, tune=False):
            inputs, target = step.examples.of(split, index)
            if self._networks > 1:
                inputs = inputs.repeat(1, self._networks, 1, 1)
            inputs = inputs.contiguous(memory_format=torch.channels_last)
            target = target[:, None].expand(-1, self._networks, *target.shape[1:])
            outputs = step.forward(inputs)
            losses = step.criterion.losses(outputs, target)
            return losses, step.criterion.tally(outputs, target, complete)
