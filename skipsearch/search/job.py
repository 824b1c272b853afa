"""One training as a worker does it: begun, continued, in smaller parts where memory is short.

Whatever goes wrong in it becomes its result; the worker lives on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from skipsearch.cost import cost
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import DivergedError, TrainingError
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.training import (
    CheckpointWriter,
    CompileChoice,
    Residents,
    Trainer,
    device_name,
    foreseen_parts,
    free_memory,
    is_out_of_memory,
    load_checkpoint,
)
from skipsearch.training.environment import autocast_dtype

METRIC = "validation_accuracy"
SMALLEST_PART = 8  # images; with fewer, batch norm has nothing to go by


class Job:
    """One training in a worker.

    Args:
        task: Plain values from the driver: design, recipe, seed, checkpoint (a file),
            memory_share (of what is free on the device), deterministic.
        data: On the worker's device.
        compiling: Decides whether networks are compiled; None for never.
        residents: Where several trainings share the worker.
    """

    def __init__(
        self,
        task: Mapping[str, Any],
        data: Data,
        compiling: CompileChoice | None = None,
        residents: Residents | None = None,
    ) -> None:
        self._task = task
        self._data = data
        self._device = data.train.images.device
        self._compiling = compiling
        self._residents = residents
        self._writer = CheckpointWriter()
        self._trainer: Trainer | None = None
        self._curve: list[dict[str, Any]] = []
        self._parts = 0  # of a batch; 0 before they are foreseen

    def step(self) -> dict[str, Any]:
        """Train one epoch; returns what the driver records."""
        result: dict[str, Any] = {"device": device_name(self._device)}
        try:
            trainer = self._train_epoch()
        except DivergedError as error:
            return self._failed(result, str(error))
        except Exception as error:
            first_line = str(error).partition("\n")[0]
            return self._failed(result, f"{type(error).__name__}: {first_line}")
        last = self._curve[-1]
        return result | {
            "numerics": trainer.numerics,
            "curve": self._curve,
            "epoch": last["epoch"],
            METRIC: last[METRIC],
            "done": last["epoch"] >= trainer.recipe.epochs,
        }

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
            epoch = shared.run_epoch(trainer) if shared else trainer.run_epoch()
            self._curve.append(epoch.to_dict())
        if trainer.epoch < trainer.recipe.epochs:
            state = {**trainer.state_dict(), "curve": self._curve}
            self._writer.write(self._task["checkpoint"], state)
        return trainer

    def _begin(self) -> Trainer:
        task, data = self._task, self._data
        design, recipe = Design.from_dict(task["design"]), Recipe.from_dict(task["recipe"])
        if not self._parts:
            self._parts = self._foresee(design, recipe)
        trainer = Trainer(
            build(design, data.in_channels, data.classes, seed=task["seed"]),
            data,
            recipe,
            task["seed"],
            parts=self._parts,
            deterministic=task["deterministic"],
            compiling=self._compiling,
        )
        self._curve = []
        self._writer.wait()
        path = Path(task["checkpoint"])
        if path.exists():
            # One that is damaged, or of another version, costs its epochs and not the training.
            with contextlib.suppress(TrainingError):
                state = load_checkpoint(path, self._device)
                trainer.load_state_dict(state, str(path))
                self._curve = state["curve"]
        return trainer

    def _foresee(self, design: Design, recipe: Recipe) -> int:
        data = self._data
        figures = cost(design, data.in_channels, data.image_size, data.classes)
        return foreseen_parts(
            figures.activation_bytes,
            min(recipe.batch_size, len(data.train)),
            autocast_dtype(recipe, self._device),
            free_memory(self._device) * self._task["memory_share"],
        )

    def _may_divide(self) -> bool:
        """Whether parts of half the size are still batches."""
        size = min(self._task["recipe"]["batch_size"], len(self._data.train))
        return self._parts > 0 and size // (2 * self._parts) >= SMALLEST_PART

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
        Path(self._task["checkpoint"]).unlink(missing_ok=True)
