"""One training as a worker does it: begun, continued, in smaller parts where memory is short.

Whatever goes wrong in it becomes its result; the worker lives on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

import torch

from skipsearch.cost import cost
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import DivergedError, OvertimeError, TrainingError, counted
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.searching.disk import is_disk_full
from skipsearch.training import (
    CheckpointWriter,
    CompileChoice,
    Residents,
    Store,
    Trainer,
    device_name,
    finish,
    foreseen_parts,
    free_memory,
    is_out_of_memory,
    latency,
    unpacked,
)
from skipsearch.training.engine import Turns
from skipsearch.training.environment import autocast_dtype

METRIC = "validation_accuracy"
SMALLEST_PART = 8  # images; with fewer, batch norm has nothing to go by


class Job:
    """One training in a worker.

    Args:
        task: Plain values from the driver: design, recipe, seed, checkpoint (its name in the
            store), memory_share (of what is free on the device), deterministic, timeout (seconds
            of training, or None), latency_batch (images, or None where it is not asked for).
        data: On the worker's device.
        store: Of checkpoints.
        compiling: Decides whether networks are compiled; None for never.
        residents: Where several trainings share the worker.
    """

    def __init__(
        self,
        task: Mapping[str, Any],
        data: Data,
        store: Store,
        compiling: CompileChoice | None = None,
        residents: Residents | None = None,
    ) -> None:
        self._task = task
        self._data = data
        self._store = store
        self._device = data.train.images.device
        self._compiling = compiling
        self._residents = residents
        self._writer = CheckpointWriter(store)
        self._trainer: Trainer | None = None
        self._curve: list[dict[str, Any]] = []
        self._parts = 0  # of a batch; 0 before they are foreseen
        self._latency: float | None = None

    def step(self) -> dict[str, Any]:
        """Train one epoch; returns what the driver records."""
        result: dict[str, Any] = {"device": device_name(self._device)}
        try:
            trainer = self._train_epoch()
        except (DivergedError, OvertimeError) as error:
            return self._failed(result, str(error))
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            if is_disk_full(error):
                self.close()  # no fault of the training: it goes on when there is room
                return result | {"disk_full": first_line, "curve": self._curve, "done": True}
            wanted = f" ({self._wanted()})" if is_out_of_memory(error) else ""
            return self._failed(result, f"{type(error).__name__}: {first_line}{wanted}")
        last = self._curve[-1]
        measured = {} if self._latency is None else {"latency": self._latency}
        return (
            result
            | measured
            | last
            | {
                "numerics": trainer.numerics,
                "curve": self._curve,
                "done": last["epoch"] >= trainer.recipe.epochs,
            }
        )

    def _failed(self, result: dict[str, Any], reason: str) -> dict[str, Any]:
        self.close()
        return result | {"failed": reason, "curve": self._curve, "done": True}

    def _train_epoch(self) -> Trainer:
        """Train one epoch; where memory runs out, again from the last checkpoint in more parts."""
        while True:
            try:
                return self._try_epoch()
            except Exception as error:
                if not is_out_of_memory(error) or not self._may_divide():
                    raise
            # Here, and not above: the exception held on to tensors.
            self.close()
            self._parts *= 2

    def _try_epoch(self) -> Trainer:
        shared = self._residents
        if self._trainer is None:
            with shared.turn if shared else contextlib.nullcontext():
                self._trainer = self._begin()
        trainer = self._trainer
        if trainer.epoch < trainer.recipe.epochs:
            turns = self._in_time(trainer.turns())
            epoch = shared.run(turns) if shared else finish(turns)
            self._curve.append(epoch.to_dict())
        if trainer.epoch < trainer.recipe.epochs:
            state = {**trainer.state_dict(), "curve": self._curve}
            self._writer.write(self._task["checkpoint"], state)
        return trainer

    def _in_time(self, turns: Turns) -> Turns:
        """Hand turns on, as long as there is time."""
        timeout, start = self._task["timeout"], time.monotonic()
        before = sum(epoch["seconds"] for epoch in self._curve)
        while True:
            if timeout is not None and before + time.monotonic() - start > timeout:
                done = f"{len(self._curve)} of {counted(self._task['recipe']['epochs'], 'epoch')}"
                raise OvertimeError(f"it took longer than {timeout:g} s, for {done}")
            try:
                yield next(turns)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _begin(self) -> Trainer:
        task, data = self._task, self._data
        design, recipe = Design.from_dict(task["design"]), Recipe.from_dict(task["recipe"])
        if not self._parts:
            self._parts = self._foresee(design, recipe)
        model = build(design, data.in_channels, data.classes, seed=task["seed"])
        if task["latency_batch"] is not None and self._latency is None:
            shape = (task["latency_batch"], data.in_channels, data.image_size)
            self._latency = latency(model, *shape, self._device, recipe.precision).seconds
        trainer = Trainer(
            model,
            data,
            recipe,
            task["seed"],
            parts=self._parts,
            deterministic=task["deterministic"],
            compiling=self._compiling,
        )
        self._curve = []
        self._writer.wait()
        content = self._store.read(task["checkpoint"])
        if content is not None:
            # One that is damaged, or of another version, costs its epochs and not the training.
            with contextlib.suppress(TrainingError):
                state = unpacked(content, self._device, task["checkpoint"])
                trainer.load_state_dict(state, task["checkpoint"])
                self._curve = state["curve"]
        return trainer

    def _foresee(self, design: Design, recipe: Recipe) -> int:
        return foreseen_parts(
            self._activation_bytes(design),
            self._batch_size(),
            autocast_dtype(recipe, self._device),
            free_memory(self._device) * self._task["memory_share"],
        )

    def _activation_bytes(self, design: Design) -> int:
        data = self._data
        return cost(design, data.in_channels, data.image_size, data.classes).activation_bytes

    def _batch_size(self) -> int:
        return min(int(self._task["recipe"]["batch_size"]), len(self._data.train))

    def _wanted(self) -> str:
        """Say how much memory the smallest part that was tried wants."""
        images = self._batch_size() // max(1, self._parts)
        wanted = images * self._activation_bytes(Design.from_dict(self._task["design"]))
        free = free_memory(self._device)
        return (
            f"{images} images at once hold up to {wanted / 1e9:.2f} GB of activations;"
            f" {free / 1e9:.2f} GB are free"
        )

    def _may_divide(self) -> bool:
        """Whether parts of half the size are still batches."""
        return self._parts > 0 and self._batch_size() // (2 * self._parts) >= SMALLEST_PART

    def close(self) -> None:
        """Give memory back, when all that was to be written is written."""
        self._trainer = None
        with contextlib.suppress(OSError):  # told already, or of no use any more
            self._writer.wait()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()

    def forget(self) -> None:
        """Close a training that will not go on, and remove its checkpoint."""
        self.close()
        self._store.remove(self._task["checkpoint"])
