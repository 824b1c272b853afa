"""Training of one network epoch by epoch; it can stop after any epoch and resume later."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import nn

from skipsearch.data import Data, Split
from skipsearch.data.source import Array
from skipsearch.errors import DivergedError, TrainingError
from skipsearch.gallery import Gallery
from skipsearch.models import Network
from skipsearch.models.ops import DropPath
from skipsearch.models.packed import Random
from skipsearch.plan import Size
from skipsearch.recipe import Recipe
from skipsearch.record import DIVERGED, Epoch, Measurement
from skipsearch.training.batches import Batches, stream
from skipsearch.training.checkpoint import load_checkpoint, save_checkpoint
from skipsearch.training.compiling import CompileChoice, Compiling
from skipsearch.training.environment import autocast_dtype, current, numerics_key
from skipsearch.training.evaluation import Evaluation
from skipsearch.training.hanging import hang
from skipsearch.training.interleaving import Wait as Wait  # exported for searching
from skipsearch.training.interleaving import finish, requested_so_far
from skipsearch.training.measuring import measurement
from skipsearch.training.prefetching import DEPTH, Prefetcher, prefetched
from skipsearch.training.recorded import CudaGraphs, Recorded, Recorder, cannot_record
from skipsearch.training.schedule import learning_rate
from skipsearch.training.sgd import SGD, Group
from skipsearch.training.step import Step

STEPS_AHEAD = 16  # steps that may be queued on the device without waiting for it


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    seed: int = 0,
    *,
    checkpoint: str | Path | None = None,
    parts: int = 1,
    deterministic: bool = False,
) -> Iterator[Epoch]:
    """Train a network and yield the result of each epoch; leave the loop to stop.

    Batches and augmentation depend only on seed, epoch and index. On the CPU, with the same number
    of threads, the same arguments give the same bits, whether or not the training was stopped and
    resumed from its checkpoint.

    Args:
        model: Network from images (N, C, H, W) to logits (N, classes), or to values for each pixel
            (N, outputs, H, W); moved to the data's device.
        data: Data set; trained on ``data.train`` and evaluated on ``data.validation``, without its
            test split.
        recipe: Recipe of the training; the defaults of ``Recipe`` if None.
        seed: Seed of data order, augmentation and dropout; for initial weights see ``build``.
        checkpoint: File written after each epoch; if it exists, training resumes from it.
        parts: Number of parts of each batch, if memory is short; see ``Training``.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed.

    Yields:
        Result of each epoch, until the recipe's budget is reached.

    Raises:
        DivergedError: If the loss is no longer finite.
        TrainingError: If the checkpoint belongs to another training.
    """
    trainer = Trainer(
        model, data, recipe or Recipe(), seed, parts=parts, deterministic=deterministic
    )
    if checkpoint is not None and Path(checkpoint).exists():
        trainer.load_state_dict(load_checkpoint(checkpoint, trainer.device), str(checkpoint))
    while trainer.epoch < trainer.recipe.epochs:
        epoch = trainer.run_epoch()
        if checkpoint is not None:
            save_checkpoint(checkpoint, trainer.state_dict())
        yield epoch


class Training:
    """Base class for training one network, or several at once as one packed network.

    Args:
        model: Network from images (N, networks * C, H, W) to logits (N, networks, classes), or
            (N, classes) for one network, or to values for each pixel (N, networks * outputs, H, W);
            moved to the data's device.
        data: Data set; trained on ``data.train``, evaluated on ``data.validation``.
        recipe: Recipe of the training.
        seeds: Seed of each network's data order, augmentation and dropout.
        parts: Number of parts of each batch, if memory is short. Their gradients are summed, so
            the batch size stays the same, but batch norm sees one part at a time, and so do the
            Dice loss and the cross-entropy with class weights or ignored pixels; see ``Step``.
        deterministic: Whether a GPU must reproduce the same bits, at lower speed. The CPU always
            does.
        recorder: Recorder of steps; None for CUDA graphs on a GPU if torch is new enough, and for
            plain steps otherwise.
        compiling: Decision after each epoch on compiling the network; None to never compile.

    Attributes:
        model: Network on the data's device, in channels_last.
        recipe: Recipe with the data set's conventions filled in.
        device: Device of the training.
        epoch: Number of completed epochs.

    Raises:
        TrainingError: If the budget in images is less than one batch per epoch.
        RecipeError: If the recipe sets a field of other tasks.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        recipe: Recipe,
        seeds: Sequence[int],
        *,
        parts: int = 1,
        deterministic: bool = False,
        recorder: Recorder | None = None,
        compiling: CompileChoice | None = None,
    ) -> None:
        data.task.check_recipe(recipe.changed, [recipe.class_weights])
        self.data = data
        self.recipe = recipe.resolve(data.augmentation)
        self.recipe.check_augmentation(data.image_size)
        self.device = data.train.images.device
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.epoch = 0
        self._seeds = tuple(seeds)
        self._deterministic = deterministic
        self._parts = parts
        self._draws = draws_at_random(model)
        # On a GPU, each training has its own generator; see ``drawing_from``.
        on_gpu = self.device.type == "cuda"
        self._generator = torch.Generator(self.device) if on_gpu else None
        self._dtype = autocast_dtype(recipe, self.device)
        # A tensor, so that a recorded step sees it change.
        self._rate = torch.tensor(recipe.peak_lr, device=self.device)
        self._optimizer = SGD(
            _parameter_groups(model, recipe),
            self._rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=on_gpu,  # not worth it on the CPU
        )
        self._source = prefetched(data.train)
        self._batches = Batches(data, self.recipe, self._seeds)
        self._steps = self._count_steps()
        self._step = Step(
            self.model,
            self._optimizer,
            data,
            self.recipe,
            dtype=self._dtype,
            networks=len(self._seeds),
            images=-(-self._steps // self.recipe.epochs) * self._batches.size,
            parts=parts,
            deterministic=deterministic,
            generator=self._generator,
        )
        self._evaluation = Evaluation(
            self._step,
            networks=len(self._seeds),
            pixels=Size.of(data.image_size).pixels,
            batch_size=self._batches.size,
            parts=parts,
            deterministic=deterministic,
        )
        self._unrecorded = None if recorder else cannot_record(self.device)
        if recorder is None and self._unrecorded is None:
            recorder = CudaGraphs(self.device, self._generators())
        self._recorder = recorder
        self._run = self._recorded()
        self._compiling = compiling and Compiling(compiling, self._step, self._structure)

    def _recorded(self) -> Step | Recorded:
        return Recorded(self._step, self._recorder) if self._recorder else self._step

    def _count_steps(self) -> int:
        if self.recipe.images is None:
            return self.recipe.epochs * self._batches.a_pass
        steps = self.recipe.images // self._batches.size
        if steps < self.recipe.epochs:
            raise TrainingError(
                f"images: {self.recipe.images} are fewer than a batch of {self._batches.size}"
                f" in each of {self.recipe.epochs} epochs"
            )
        return steps

    def _generators(self) -> Sequence[torch.Generator]:
        """Return the generators that the network draws from on a GPU."""
        return () if self._generator is None else (self._generator,)

    @property
    def numerics(self) -> str:
        """Key of the numerical settings; results with different keys differ by rounding."""
        words = [numerics_key(self.device, self._dtype)]
        if isinstance(self._run, Recorded) and self._run.replays:
            words.append("graph")
        if self._parts > 1:
            words.append(f"batches in {self._parts} parts")
        if self._step.compiled:
            words.append("compiled")
        if self._deterministic:
            words.append("deterministic")
        return ", ".join(words)

    @property
    def warning(self) -> str:
        """Reason why training is slower than possible; empty if there is none."""
        recording = self._run.failure if isinstance(self._run, Recorded) else None
        if self.device.type == "cuda":
            recording = recording or self._unrecorded
        words = [("not recorded", recording), ("not compiled", self._step.failure)]
        if self.device.type == "cuda" and self.data.train.is_mapped:
            words.append(("images not on the GPU", self.data.place))
        return "; ".join(f"{what}: {why}" for what, why in words if why is not None)

    def run_epochs(self) -> list[Epoch]:
        """Train one epoch and evaluate.

        Returns:
            Result of each network; the losses of one that diverged are not finite.
        """
        # On the CPU dropout draws from the default generator.
        with torch.random.fork_rng(devices=[]), current(self.device):
            return finish(self.all_steps())

    def run_step(self, number: int) -> None:
        """Train one step, counted from the start of the training, without waiting for results."""
        self._seed_dropout(number)
        if isinstance(self._source, Prefetcher):
            self._step.examples.load(*self._source.batch(self._batches.index(number)))
        self._run(self._batches[number])

    def _read_ahead(self, number: int) -> Generator[Wait, None, None]:
        """Start to read the batches of a step and of those after it; yield what the step waits for.

        Only those of this pass over the data, since the draws of the next one replace it.
        """
        if not isinstance(self._source, Prefetcher):
            return
        left = self._batches.a_pass - number % self._batches.a_pass
        for later in range(number, number + min(DEPTH + 1, left)):
            self._source.prefetch(self._batches.index(later))
        yield from self._source.ready(self._batches.index(number))

    def all_steps(self) -> Generator[Wait, None, list[Epoch]]:
        """Do the same as ``run_epochs``, but yield after each step, and if a batch is not read.

        This is for a caller that interleaves several trainings. It must preserve the global random
        state, which each step seeds anew.
        """
        start = time.perf_counter()
        epochs = self.recipe.epochs
        first, last = (n * self._steps // epochs for n in (self.epoch, self.epoch + 1))
        steps = last - first
        rate = 0.0
        self.model.train()
        self._step.reset()
        before: Wait = None
        for number in range(first, last):
            rate = learning_rate(self.recipe, (number + 0.5) * epochs / self._steps)
            self._rate.fill_(rate)
            yield from self._read_ahead(number)
            self.run_step(number)
            if number % STEPS_AHEAD:
                yield None
            else:
                yield before
                before = requested_so_far(self.device)
        # Summed on the device and read once per epoch: reading waits for the device.
        yield requested_so_far(self.device)
        training_seconds = time.perf_counter() - start
        train_loss = [loss / steps for loss in self._step.loss_sum.tolist()]
        seen = steps * self._batches.size
        train_scores = self._step.tallies.scores(seen)
        losses, scores = yield from self._evaluation.steps(self.data.validation)
        self.epoch += 1
        left = self._steps - last
        if self._compiling and self._compiling.consider(training_seconds, steps, left):
            self._run = self._recorded()
        seconds = (time.perf_counter() - start) / len(self._seeds)  # each network's share
        return [
            Epoch(self.epoch, rate, *results, seconds)
            for results in zip(train_loss, train_scores, losses, scores, strict=True)
        ]

    def _seed_dropout(self, step: int) -> None:
        if self._draws:
            # torch.manual_seed seeds all devices and searches for them, which takes a millisecond.
            generator = self._generator or torch.default_generator
            generator.manual_seed(stream(self._seeds[0], "dropout", step))

    def divergence(self, epoch: Epoch) -> str:
        """Describe how a network diverged in an epoch; empty if it did not."""
        for loss in (epoch.train_loss, epoch.validation_loss):
            if not math.isfinite(loss):
                return (
                    f"{DIVERGED} {loss} in epoch {epoch.epoch} of {self.recipe.epochs}"
                    f" (peak_lr {self.recipe.peak_lr:g})"
                )
        if not math.isfinite(epoch.validation_score):
            metric = self.data.task.metric.title
            return f"the {metric} of the validation images is undefined"
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return all that is needed to resume in another process: tensors and plain values."""
        return {
            "belongs_to": self._belongs_to(),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], where: str = "the state") -> None:
        """Resume from a state of ``state_dict``.

        Raises:
            TrainingError: If it belongs to another network, recipe, data set or seed.
        """
        mine, theirs = self._belongs_to(), state.get("belongs_to")
        if mine != theirs:
            raise TrainingError(f"{where} belongs to another training: {theirs} instead of {mine}")
        self.model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._run = self._recorded()  # an old recording would write to the old momentum
        if self._compiling:
            self._compiling.begin_steps()
        self.epoch = state["epoch"]

    @property
    def _structure(self) -> str:
        return blake2b(repr(self.model).encode(), digest_size=5).hexdigest()

    def _belongs_to(self) -> str:
        params = sum(parameter.numel() for parameter in self.model.parameters())
        task = self.data.task
        purpose = f" for {task.name}" * task.per_pixel
        if task.version > 1:
            purpose += f" by version {task.version} of {task.name}"
        if task.restores:
            purpose += f" at sigma {self.data.sigma:g}"
        return (
            f"network {self._structure} of {params} parameters, recipe {self.recipe.id},"
            f" data {self.data.fingerprint}{purpose},"
            f" seed {' '.join(map(str, self._seeds))}"
        )


class Trainer(Training):
    """Training of one network; see ``Training``.

    Args:
        model: Network from images (N, C, H, W) to logits (N, classes), or to values for each pixel
            (N, outputs, H, W); moved to the data's device.
        data: Data set; trained on ``data.train``, evaluated on ``data.validation``.
        recipe: Recipe of the training.
        seed: Seed of data order, augmentation and dropout.
        **how: Further arguments of ``Training``.
    """

    def __init__(
        self, model: nn.Module, data: Data, recipe: Recipe, seed: int = 0, **how: Any
    ) -> None:
        super().__init__(model, data, recipe, (seed,), **how)

    def run_epoch(self) -> Epoch:
        """Train one epoch and evaluate.

        Raises:
            DivergedError: If the loss is no longer finite.
        """
        (epoch,) = self.run_epochs()
        if divergence := self.divergence(epoch):
            raise DivergedError(divergence)
        return epoch

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Return mean loss and score over a split, in evaluation mode."""
        with current(self.device):
            (loss,), (score,) = finish(self._evaluation.steps(split))
        return loss, score

    def gallery(self, split: Split, groups: Array | None = None) -> Gallery:
        """Return the best, median and worst predictions on a split, for a per-pixel task.

        They are computed in float32, and intervals are over groups, see ``measure``.
        """
        with current(self.device), self._step.in_float32():
            tallies = self._evaluation.tallies(split)[:, 0]
            return hang(self.data, split, self._step, tallies, groups)

    def measure(self, split: Split, groups: Array | None = None) -> Measurement:
        """Return the score on a split with its interval, its baseline, and further figures.

        The network computes in float32, whatever the precision of the training, as the files of an
        export do.

        Args:
            split: Split of the data.
            groups: Group of each of its images, (images,): the interval is by bootstrap over whole
                groups. None if every image is its own group.
        """
        with current(self.device), self._step.in_float32():
            tallies = self._evaluation.tallies(split)[:, 0]
            return measurement(self.data, split, self._step.criterion, tallies, groups)


def draws_at_random(model: nn.Module) -> bool:
    """Return whether a model may draw random numbers in training; foreign models may."""
    if not isinstance(model, Network):
        return True
    return any(isinstance(module, (nn.Dropout, DropPath, Random)) for module in model.modules())


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[Group]:
    """Separate parameters without decay: norms, biases and learned scales, with 0 or 1 axes."""
    parameters = list(model.parameters())
    if recipe.decay_norm_and_bias:
        return [Group(parameters, recipe.weight_decay)]
    groups = [
        Group([p for p in parameters if p.ndim >= 2], recipe.weight_decay),
        Group([p for p in parameters if p.ndim < 2], 0.0),
    ]
    return [group for group in groups if group.parameters]
