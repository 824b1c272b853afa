"""Number of CPU threads that one training keeps busy."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch

from skipsearch.cost import cost, layers
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.recipe import Recipe

# Multiply-adds of a layer in one step that keep a thread busy. With fewer, threads spend more time
# waiting for each other than computing (scripts/benchmark_threads.py).
WORK_A_THREAD = 16_000_000


def work_a_layer(design: Design, data: Data, recipe: Recipe, networks: int = 1) -> int:
    """Count the multiply-adds of the average layer in one step of a training.

    Args:
        design: Design to train.
        data: Data set of the training.
        recipe: Recipe, for its batch size.
        networks: Number of networks of this design that are trained at once.
    """
    images = networks * min(recipe.batch_size, len(data.train))
    macs = cost(design, data.in_channels, data.image_size, data.outputs).macs
    return images * macs // layers(design)


@contextlib.contextmanager
def fitting_threads(
    design: Design, data: Data, recipe: Recipe, networks: int = 1
) -> Iterator[None]:
    """Use no more threads than a training keeps busy; restore their number afterwards.

    The number depends on the design, the batch and the available threads, but not on the load of
    the machine, since it affects the last bits of a training.

    Args:
        design: Design to train.
        data: Data set of the training.
        recipe: Recipe, for its batch size.
        networks: Number of networks of this design that are trained at once.
    """
    before = torch.get_num_threads()
    work = work_a_layer(design, data, recipe, networks)
    torch.set_num_threads(max(1, min(before, work // WORK_A_THREAD)))
    try:
        yield
    finally:
        torch.set_num_threads(before)
