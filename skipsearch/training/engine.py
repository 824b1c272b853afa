"""Train one network, one epoch at a time; can be stopped after any epoch and go on later."""

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
from skipsearch.errors import DivergedError, TrainingError
from skipsearch.models import Network
from skipsearch.models.ops import DropPath
from skipsearch.models.packed import Random
from skipsearch.recipe import Recipe
from skipsearch.record import DIVERGED, Epoch
from skipsearch.training.batches import Batches, stream
from skipsearch.training.checkpoint import load_checkpoint, save_checkpoint
from skipsearch.training.compiling import CompileChoice, Compiling
from skipsearch.training.environment import autocast_dtype, current, numerics_key
from skipsearch.training.evaluation import Evaluation
from skipsearch.training.interleaving import Wait as Wait  # searching has it from here
from skipsearch.training.interleaving import finish, requested_so_far
from skipsearch.training.recorded import CudaGraphs, Recorded, Recorder, cannot_record
from skipsearch.training.schedule import learning_rate
from skipsearch.training.step import Step

STEPS_AHEAD = 16  # of the device, that may be asked for before it is waited for


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
    """Train a network and yield each epoch's result; stop by leaving the loop.

    Batches and augmentation are a function of seed, epoch and index alone. On the CPU, with the
    same number of threads, the same arguments give the same bits, whether or not the training was
    stopped and continued from its checkpoint in between.

    Args:
        model: From images (N, C, H, W) to logits (N, classes); moved to the data's device.
        data: Trained on ``data.train``, evaluated on ``data.validation``; the test split is not
            looked at.
        recipe: How; the defaults of ``Recipe`` if None.
        seed: Of data order, augmentation and dropout; not of the initial weights, see ``build``.
        checkpoint: A file written after each epoch; if it exists, training goes on from it.
        parts: Into which each batch is divided where memory is short; see ``Trainer``.
        deterministic: Whether a GPU must give the same bits again, for less speed.

    Yields:
        One ``Epoch`` after each epoch, until the recipe's budget is reached.

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
    """What trains one network, or several at once as one packed network; see the children.

    Args:
        model: From images (N, networks * C, H, W) to logits (N, networks, classes), or (N, classes)
            of one network; moved to the data's device.
        data: Trained on ``data.train``, evaluated on ``data.validation``.
        recipe: How.
        seeds: Of each network's data order, augmentation and dropout.
        parts: Into which each batch is divided where memory is short. Gradients are summed, so
            that the batch size stays; batch norm then sees one part at a time.
        deterministic: Whether a GPU must give the same bits again, for less speed. On the CPU it
            always does.
        recorder: How steps are recorded and replayed; None for CUDA graphs on a GPU where torch is
            new enough, and for plain steps elsewhere.
        compiling: Decides after each epoch whether the network is to be compiled; None for never.

    Attributes:
        model: The network, on the data's device, in channels_last.
        recipe: With the data set's conventions filled in.
        device: Where it trains.
        epoch: Epochs done.

    Raises:
        TrainingError: If the budget in images is less than a batch an epoch.
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
        self.data = data
        self.recipe = recipe.resolve(data.augmentation)
        self.device = data.train.images.device
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.epoch = 0
        self._seeds = tuple(seeds)
        self._deterministic = deterministic
        self._parts = parts
        self._draws = draws_at_random(model)
        # On a GPU it draws from a generator of its own: see ``drawing_from``.
        on_gpu = self.device.type == "cuda"
        self._generator = torch.Generator(self.device) if on_gpu else None
        self._dtype = autocast_dtype(recipe, self.device)
        # A tensor, so that a recorded step sees it change.
        self._rate = torch.tensor(recipe.peak_lr, device=self.device)
        self._optimizer = torch.optim.SGD(
            _parameter_groups(model, recipe),
            lr=self._rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=on_gpu,  # on the CPU it does not pay
        )
        self._batches = Batches(data, self.recipe, self._seeds)
        self._steps = self._count_steps()
        self._step = Step(
            self.model,
            self._optimizer,
            data,
            self.recipe,
            dtype=self._dtype,
            networks=len(self._seeds),
            parts=parts,
            deterministic=deterministic,
            generator=self._generator,
        )
        self._evaluation = Evaluation(
            self._step,
            networks=len(self._seeds),
            classes=data.classes,
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
        """What the network draws from on a GPU."""
        return () if self._generator is None else (self._generator,)

    @property
    def numerics(self) -> str:
        """What decides its last bits; results under unlike keys differ by rounding."""
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
        """What makes it slower than it could be; empty where nothing does."""
        recording = self._run.failure if isinstance(self._run, Recorded) else None
        if self.device.type == "cuda":
            recording = recording or self._unrecorded
        words = [("not recorded", recording), ("not compiled", self._step.failure)]
        return "; ".join(f"{what}: {why}" for what, why in words if why is not None)

    def run_epochs(self) -> list[Epoch]:
        """Train one epoch and evaluate.

        Returns:
            An epoch of each network; its losses are not finite where it diverged.
        """
        # On the CPU dropout draws from the default generator.
        with torch.random.fork_rng(devices=[]), current(self.device):
            return finish(self.all_steps())

    def run_step(self, number: int) -> None:
        """Train one step, counted from the first of the training, and read nothing back."""
        self._seed_dropout(number)
        self._run(self._batches[number])

    def all_steps(self) -> Generator[Wait, None, list[Epoch]]:
        """Do what ``run_epochs`` does, handing over after each step.

        For a caller that trains several networks in steps. It must keep the global random state,
        which is seeded anew for each step.
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
            self.run_step(number)
            if number % STEPS_AHEAD:
                yield None
            else:
                yield before
                before = requested_so_far(self.device)
        # Summed on the device and read once an epoch: reading waits for the device.
        yield requested_so_far(self.device)
        training_seconds = time.perf_counter() - start
        train_loss = [loss / steps for loss in self._step.loss_sum.tolist()]
        seen = steps * self._batches.size
        train_scores = self._step.criterion.scores(self._step.tally, seen)
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
            # torch.manual_seed seeds every device and looks for more of them: a millisecond.
            generator = self._generator or torch.default_generator
            generator.manual_seed(stream(self._seeds[0], "dropout", step))

    def divergence(self, epoch: Epoch) -> str:
        """Say how a network diverged in an epoch; empty where it did not."""
        for loss in (epoch.train_loss, epoch.validation_loss):
            if not math.isfinite(loss):
                return (
                    f"{DIVERGED} {loss} in epoch {epoch.epoch} of {self.recipe.epochs}"
                    f" (peak_lr {self.recipe.peak_lr:g})"
                )
        return ""

    def state_dict(self) -> dict[str, Any]:
        """Return all that a later process needs to go on: tensors and plain values."""
        return {
            "belongs_to": self._belongs_to(),
            "epoch": self.epoch,
            "model": self.model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any], where: str = "the state") -> None:
        """Go on from what ``state_dict`` returned.

        Raises:
            TrainingError: If it belongs to another network, recipe, data set or seed.
        """
        mine, theirs = self._belongs_to(), state.get("belongs_to")
        if mine != theirs:
            raise TrainingError(f"{where} belongs to another training: {theirs} instead of {mine}")
        self.model.load_state_dict(state["model"])
        # Its momentum alone: the groups are the recipe's, and ``fused`` this device's.
        groups = self._optimizer.state_dict()["param_groups"]
        momentum = state["optimizer"]["state"]
        self._optimizer.load_state_dict({"state": momentum, "param_groups": groups})
        for group in self._optimizer.param_groups:
            group["lr"] = self._rate
        self._run = self._recorded()  # a recording would write the momentum of before
        if self._compiling:
            self._compiling.begin_steps()
        self.epoch = state["epoch"]

    @property
    def _structure(self) -> str:
        return blake2b(repr(self.model).encode(), digest_size=5).hexdigest()

    def _belongs_to(self) -> str:
        params = sum(parameter.numel() for parameter in self.model.parameters())
        return (
            f"network {self._structure} of {params} parameters, recipe {self.recipe.id},"
            f" data {self.data.fingerprint},"
            f" seed {' '.join(map(str, self._seeds))}"
        )


class Trainer(Training):
    """Trains one network; see ``Training``.

    Args:
        model: From images (N, C, H, W) to logits (N, classes); moved to the data's device.
        data: Trained on ``data.train``, evaluated on ``data.validation``.
        recipe: How.
        seed: Of data order, augmentation and dropout.
        **how: Keywords of ``Training``.
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


def draws_at_random(model: nn.Module) -> bool:
    """Whether a network may draw random numbers in training; modules of others may."""
    if not isinstance(model, Network):
        return True
    return any(isinstance(module, (nn.Dropout, DropPath, Random)) for module in model.modules())


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Split off what does not decay: norms, biases and learned scales have fewer than 2 axes."""
    parameters = list(model.parameters())
    if recipe.decay_norm_and_bias:
        return [{"params": parameters, "weight_decay": recipe.weight_decay}]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
