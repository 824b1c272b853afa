"""Training of several networks of one structure at once, such as the seeds of one design."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import TrainingError
from skipsearch.models import Network, build, can_pack, pack, set_generators, unpack
from skipsearch.recipe import Recipe
from skipsearch.record import PACK_OF, Epoch
from skipsearch.training.batches import stream
from skipsearch.training.engine import Trainer, Training
from skipsearch.training.threads import WORK_A_THREAD, work_a_layer

LARGEST_PACK = 8  # larger packs hardly reduce the fixed cost of a step further


def packs(
    data: Data, design: Design, recipe: Recipe, seeds: Sequence[int]
) -> list[tuple[int, ...]]:
    """Divide the seeds of a design into packs, each of which is trained as one packed network.

    The size of its pack determines the last bits of a training. Therefore the packs depend only on
    the design, the batch and the seeds, not on the machine or its load; and the seeds that remain
    after the first packs are divided in the same way.

    A pack pays off if a layer of one network keeps no thread busy (``WORK_A_THREAD``): 3 seeds are
    then 1.2 to 2.3 times as fast as one after another (depthwise convolutions 1.05 times), and with
    more work 0.9 to 1.4 times (scripts/benchmark_packs.py). It has not been measured on a GPU.

    Args:
        data: Data set of the training.
        design: Design to train.
        recipe: Recipe, for its batch size.
        seeds: Seeds to divide.

    Returns:
        Packs of up to 8 seeds, in their order; a seed that is trained alone is a separate pack, as
        is each one if the seeds have different folds of the data.
    """
    size = 1
    if data.folds is None and len(seeds) > 1 and work_a_layer(design, data, recipe) < WORK_A_THREAD:
        with torch.device("meta"):  # only its structure
            size = LARGEST_PACK if can_pack(build(design, data.in_channels, data.outputs)) else 1
    return _parts(seeds, size)


def _parts(seeds: Sequence[int], most: int) -> list[tuple[int, ...]]:
    """Divide into as few parts as possible, of nearly equal size, the larger ones last."""
    parts, start = [], 0
    for left in range(-(-len(seeds) // most), 0, -1):
        end = start + (len(seeds) - start) // left
        parts.append(tuple(seeds[start:end]))
        start = end
    return parts


def train_several(
    models: Sequence[Network],
    data: Data,
    recipe: Recipe | None = None,
    seeds: Sequence[int] = (),
    *,
    packed: bool = True,
    deterministic: bool = False,
) -> Iterator[list[Epoch]]:
    """Train several networks of one structure and yield the results of each epoch.

    Small networks are several times faster as one packed network (see ``models.pack``). Each sees
    the same batches as alone, and its training is independent of the others. The results of packed
    and separate training agree within rounding.

    Args:
        models: Networks of one design, moved to the data's device. They have the weights of the
            epoch that was yielded last.
        data: Data set, see ``train``.
        recipe: Recipe of the training; the defaults of ``Recipe`` if None.
        seeds: Seed of each network, see ``train``; 0, 1, 2 and so on if empty.
        packed: Whether to train packed networks of up to 8; ``training.packs`` defines when a
            search does.
        deterministic: Whether a GPU must reproduce the same bits, see ``train``.

    Yields:
        Result of each network, in their order, until the budget is reached. The losses of one that
        diverged are not finite from then on.

    Raises:
        TrainingError: If the numbers of seeds and networks differ.
        DesignError: If packed networks are requested and the structures of the networks differ.
    """
    recipe = recipe or Recipe()
    seeds = tuple(seeds) or tuple(range(len(models)))
    if len(seeds) != len(models):
        raise TrainingError(f"{len(models)} networks, but {len(seeds)} seeds")
    how: dict[str, Any] = {"deterministic": deterministic}
    trainings: list[Training] = []
    for part in _parts(range(len(models)), LARGEST_PACK if packed else 1):
        members, theirs = [models[n] for n in part], [seeds[n] for n in part]
        if packed:
            trainings.append(PackTrainer(members, data, recipe, theirs, **how))
        else:
            trainings.append(Trainer(members[0], data, recipe, theirs[0], **how))
    for _ in range(recipe.epochs):
        yield [epoch for training in trainings for epoch in training.run_epochs()]


class PackTrainer(Training):
    """Training of several networks of one structure as one packed network; see ``Training``.

    Args:
        models: Networks, which receive the weights after each epoch.
        data: Data set; trained on ``data.train``, evaluated on ``data.validation``.
        recipe: Recipe of the training.
        seeds: Seed of each network's data order, augmentation and dropout.
        **how: Further arguments of ``Training``.

    Raises:
        DesignError: If the structures of the networks differ.
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
        """Train one epoch, evaluate, and copy the weights to the networks."""
        epochs = super().run_epochs()
        unpack(self.model, self._models)
        return epochs

    @property
    def numerics(self) -> str:
        """Key of the numerical settings, with the size of the pack, but not its members."""
        return f"{super().numerics}{PACK_OF}{len(self._seeds)}"

    def _generators(self) -> Sequence[torch.Generator]:
        return self._draws_from

    def _seed_dropout(self, step: int) -> None:
        if not self._draws:
            return
        for seed, generator in zip(self._seeds, self._draws_from, strict=True):
            generator.manual_seed(stream(seed, "dropout", step))
