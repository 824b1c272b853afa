"""Several networks of one structure, such as the seeds of one design, trained side by side."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from skipsearch.data import Data
from skipsearch.errors import DesignError, TrainingError
from skipsearch.models import Network, pack, set_generators, unpack
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.training.batches import stream
from skipsearch.training.engine import Trainer, Training
from skipsearch.training.environment import current
from skipsearch.training.recorded import WARM_UP

LARGEST_PACK = 8  # beyond it a step's fixed cost is shared out already
UNTIMED_STEPS = WARM_UP + 1  # on a GPU: the first choose kernels, the last is recorded
TIMED_STEPS = 3


def train_several(
    models: Sequence[Network],
    data: Data,
    recipe: Recipe | None = None,
    seeds: Sequence[int] = (),
    *,
    packed: bool | None = None,
    deterministic: bool = False,
) -> Iterator[list[Epoch]]:
    """Train several networks of one structure and yield the results of each epoch.

    Small networks are trained as one packed network (see ``models.pack``), which is several times
    faster; each sees the batches that it would see alone, and what it becomes depends on none of
    the others. Packed and alone, a network agrees within rounding.

    Args:
        models: Networks of one design; moved to the data's device. They hold the weights of the
            epoch that was yielded last.
        data: See ``train``.
        recipe: The defaults of ``Recipe`` if None.
        seeds: One a network, see ``train``; 0, 1, 2 and so on if empty.
        packed: Whether to train packed networks of up to 8; if None, some steps are measured, and
            the faster way is taken.
        deterministic: See ``train``.

    Yields:
        An epoch of each network, in their order, until the budget is reached. One that diverged has
        losses that are not finite, from then on.

    Raises:
        TrainingError: If there are not as many seeds as networks.
        DesignError: If packed networks are asked for and the networks' structures differ.
    """
    recipe = recipe or Recipe()
    seeds = tuple(seeds) or tuple(range(len(models)))
    if len(seeds) != len(models):
        raise TrainingError(f"{len(models)} networks, but {len(seeds)} seeds")
    how = {"deterministic": deterministic}
    if packed is None:
        packed = pack_is_faster(models[:LARGEST_PACK], data, recipe)
    trainings: list[Training] = []
    if packed:
        packs = -(-len(models) // LARGEST_PACK)
        for each in range(packs):
            members = slice(each * len(models) // packs, (each + 1) * len(models) // packs)
            trainings.append(PackTrainer(models[members], data, recipe, seeds[members], **how))
    else:
        trainings += [
            Trainer(model, data, recipe, seed, **how)
            for model, seed in zip(models, seeds, strict=True)
        ]
    for _ in range(recipe.epochs):
        yield [epoch for training in trainings for epoch in training.run_epochs()]


def pack_is_faster(models: Sequence[Network], data: Data, recipe: Recipe) -> bool:
    """Measure some steps of a pack and of one network, on copies.

    Returns:
        Whether a step of the pack takes less than a step of each of its members; no where they
        cannot be packed.
    """
    if len(models) < 2:
        return False
    try:
        together: Training = PackTrainer(models, data, recipe, range(len(models)))
    except DesignError:
        return False
    alone = Trainer(copy.deepcopy(models[0]), data, recipe)
    return _seconds_a_step(together) < len(models) * _seconds_a_step(alone)


def _seconds_a_step(training: Training) -> float:
    training.model.train()
    seconds = []
    on_gpu = training.device.type == "cuda"
    untimed = UNTIMED_STEPS if on_gpu else 1
    with current(training.device):
        for step in range(untimed + TIMED_STEPS):
            start = time.perf_counter()
            training.run_step(step)
            if on_gpu:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - start)
    return min(seconds[untimed:])


class PackTrainer(Training):
    """Trains several networks of one structure as one packed network; see ``Training``.

    Args:
        models: The networks; they take over the weights after each epoch.
        data: Trained on ``data.train``, evaluated on ``data.validation``.
        recipe: How.
        seeds: Of each network's data order, augmentation and dropout.
        **how: Keywords of ``Training``.

    Raises:
        DesignError: If the networks' structures differ.
    """

    def __init__(
        self,
        models: Sequence[Network],
        data: Data,
        recipe: Recipe,
        seeds: Sequence[int],
        **how: Any,
    ) -> None:
        device = data.train.images.device
        self._models = [model.to(device) for model in models]
        self._draws_from = [torch.Generator(device) for _ in models]
        whole = pack(self._models)
        set_generators(whole, self._draws_from)
        super().__init__(whole, data, recipe, seeds, **how)

    def run_epochs(self) -> list[Epoch]:
        """Train one epoch, evaluate, and hand the weights to the networks."""
        epochs = super().run_epochs()
        unpack(self.model, self._models)
        return epochs

    @property
    def numerics(self) -> str:
        """What decides its last bits: the number of companions, not what they are."""
        return f"{super().numerics}, pack of {len(self._seeds)}"

    def _generators(self) -> Sequence[torch.Generator]:
        return self._draws_from

    def _seed_dropout(self, step: int) -> None:
        if not self._draws:
            return
        for seed, generator in zip(self._seeds, self._draws_from, strict=True):
            generator.manual_seed(stream(seed, "dropout", step))
