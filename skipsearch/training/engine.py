"""Train one network, one epoch at a time; can be stopped after any epoch and go on later."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from skipsearch.data import Data, Split, augment, normalise
from skipsearch.errors import DivergedError, TrainingError
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.training.checkpoint import load_checkpoint, save_checkpoint
from skipsearch.training.environment import autocast_dtype, numerics_key
from skipsearch.training.schedule import learning_rate

EVALUATION_BATCH = 1024


def train(
    model: nn.Module,
    data: Data,
    recipe: Recipe | None = None,
    seed: int = 0,
    *,
    checkpoint: str | Path | None = None,
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

    Yields:
        One ``Epoch`` after each epoch, until the recipe's budget is reached.

    Raises:
        DivergedError: If the loss is no longer finite.
        TrainingError: If the checkpoint belongs to another training.
    """
    trainer = Trainer(model, data, recipe or Recipe(), seed)
    if checkpoint is not None and Path(checkpoint).exists():
        trainer.load_state_dict(load_checkpoint(checkpoint, trainer.device), str(checkpoint))
    while trainer.epoch < trainer.recipe.epochs:
        epoch = trainer.run_epoch()
        if checkpoint is not None:
            save_checkpoint(checkpoint, trainer.state_dict())
        yield epoch


class Trainer:
    """The state of one training: network, optimizer, number of epochs done.

    Attributes:
        model: The network, on the data's device, in channels_last.
        recipe: With the data set's conventions filled in.
        device: Where it trains.
        epoch: Epochs done.
    """

    def __init__(self, model: nn.Module, data: Data, recipe: Recipe, seed: int = 0) -> None:
        self.data = data
        self.recipe = recipe.resolve(data.augmentation)
        self.seed = seed
        self.device = data.train.images.device
        self.model = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.epoch = 0
        self.batch_size = min(recipe.batch_size, len(data.train))
        self.steps = len(data.train) // self.batch_size
        self._dtype = autocast_dtype(recipe, self.device)
        self._optimizer = torch.optim.SGD(
            _parameter_groups(model, recipe),
            lr=recipe.peak_lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=self.device.type in ("cuda", "cpu"),
        )

    @property
    def numerics(self) -> str:
        """What decides its last bits; results under unlike keys differ by rounding."""
        return numerics_key(self.device, self._dtype)

    def run_epoch(self) -> Epoch:
        """Train one epoch and evaluate.

        Raises:
            DivergedError: If the loss is no longer finite.
        """
        start = time.perf_counter()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            # Dropout draws from the global generator: seed it by epoch, and give it back after.
            torch.manual_seed(_epoch_seed(self.seed, self.epoch))
            train_loss, train_accuracy, rate = self._train()
        validation_loss, validation_accuracy = self.evaluate(self.data.validation)
        self.epoch += 1
        for loss in (train_loss, validation_loss):
            if not math.isfinite(loss):
                raise DivergedError(
                    f"the loss became {loss} in epoch {self.epoch} of {self.recipe.epochs}"
                    f" (peak_lr {self.recipe.peak_lr:g})"
                )
        return Epoch(
            epoch=self.epoch,
            learning_rate=rate,
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            seconds=time.perf_counter() - start,
        )

    def _train(self) -> tuple[float, float, float]:
        """Train one epoch; returns mean loss, accuracy, and the last learning rate."""
        self.model.train()
        images, labels = self.data.train.images, self.data.train.labels
        generator = torch.Generator(self.device).manual_seed(_epoch_seed(self.seed, self.epoch))
        order = torch.randperm(len(labels), generator=generator, device=self.device)
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        rate = 0.0
        for step in range(self.steps):
            index = order[step * self.batch_size : (step + 1) * self.batch_size]
            batch = augment(
                self._inputs(images[index]),
                generator,
                crop=self.recipe.crop or 0,
                flip=bool(self.recipe.flip),
                cutout=self.recipe.cutout or 0,
            )
            target = labels[index]
            rate = learning_rate(self.recipe, self.epoch + (step + 0.5) / self.steps)
            for group in self._optimizer.param_groups:
                group["lr"] = rate
            self._optimizer.zero_grad(set_to_none=True)
            logits = self._forward(batch)
            loss = F.cross_entropy(logits, target, label_smoothing=self.recipe.label_smoothing)
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.step()
            # Summed on the device and read once an epoch: reading waits for the device.
            loss_sum += loss.detach()
            right += (logits.argmax(1) == target).sum()
        seen = self.steps * self.batch_size
        return loss_sum.item() / self.steps, right.item() / seen, rate

    @torch.no_grad()
    def evaluate(self, split: Split) -> tuple[float, float]:
        """Return mean cross-entropy and accuracy over a split, in evaluation mode."""
        self.model.eval()
        loss_sum = torch.zeros((), device=self.device)
        right = torch.zeros((), device=self.device)
        for start in range(0, len(split), EVALUATION_BATCH):
            images = split.images[start : start + EVALUATION_BATCH]
            target = split.labels[start : start + EVALUATION_BATCH]
            logits = self._forward(self._inputs(images))
            loss_sum += F.cross_entropy(logits, target, reduction="sum")
            right += (logits.argmax(1) == target).sum()
        return loss_sum.item() / len(split), right.item() / len(split)

    def _inputs(self, images: Tensor) -> Tensor:
        images = normalise(images, self.data.mean, self.data.std, torch.float32)
        return images.contiguous(memory_format=torch.channels_last)

    def _forward(self, batch: Tensor) -> Tensor:
        with torch.autocast(self.device.type, self._dtype, enabled=self._dtype is not None):
            logits: Tensor = self.model(batch)
        return logits.float()

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
        self._optimizer.load_state_dict(state["optimizer"])
        self.epoch = state["epoch"]

    def _belongs_to(self) -> str:
        params = sum(parameter.numel() for parameter in self.model.parameters())
        structure = blake2b(repr(self.model).encode(), digest_size=5).hexdigest()
        return (
            f"network {structure} of {params} parameters, recipe {self.recipe.id},"
            f" data {self.data.fingerprint}, seed {self.seed}"
        )


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


def _epoch_seed(seed: int, epoch: int) -> int:
    # Epochs of neighbouring seeds must not share their numbers.
    return (seed * 1_000_003 + epoch) % 2**63
