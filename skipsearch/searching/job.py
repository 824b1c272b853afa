"""A training, or a pack of several, as a worker does it: begun, continued, divided for memory.

Whatever goes wrong in it becomes its result; the worker lives on.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeVar

import torch

from skipsearch.cost import cost
from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import OvertimeError, TrainingError, counted
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.searching.disk import is_disk_full
from skipsearch.training import (
    CheckpointWriter,
    CompileChoice,
    PackTrainer,
    Residents,
    Store,
    Trainer,
    device_name,
    finish,
    foreseen_parts,
    free_memory,
    is_lost,
    is_out_of_memory,
    latency,
    unpacked,
)
from skipsearch.training.engine import Training, Wait
from skipsearch.training.environment import autocast_dtype

METRIC = "validation_accuracy"
SMALLEST_PART = 8  # images; with fewer, batch norm has nothing to go by
T = TypeVar("T")


class Job:
    """One training in a worker, or several seeds of one design as one packed network.

    Args:
        task: Plain values from the driver: design, recipe, seeds (one, or those of a pack, in the
            order of their places), checkpoint (its name in the store), memory_share (of what is
            free on the device), deterministic, timeout (seconds of each training, or None),
            latency_batch (images, or None where it is not asked for).
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
        self._seat = residents.take_seat() if residents else None
        self._writer = CheckpointWriter(store)
        self._trainer: Training | None = None
        self._seeds: list[int] = task["seeds"]
        self._curves: list[list[dict[str, Any]]] = []  # by place
        self._failed: list[str] = []  # how each diverged; empty where it did not
        self._forget_epochs()
        self._parts = 0  # of a batch; 0 before they are foreseen
        self._latency: float | None = None

    @property
    def timeout(self) -> float | None:
        """Seconds that all its trainings together may take; None for as long as they take."""
        timeout = self._task["timeout"]
        return None if timeout is None else timeout * len(self._seeds)

    def step(self) -> dict[str, Any]:
        """Train one epoch.

        Returns:
            What the driver records. ``curve`` and ``failed`` are of one training; in the place of
            these, a pack has ``members`` with a mapping that holds them for each seed.
        """
        result: dict[str, Any] = {"device": device_name(self._device)}
        failed, short_of_memory = {}, False
        try:
            trainer = self._train_epoch()
        except Exception as error:
            short_of_memory = is_out_of_memory(error)
            failed = _describe(error)
        if failed:
            # Here, and not above: the exception held on to tensors.
            self.close()
            if is_lost(self._device):
                failed["device_lost"] = True
            elif short_of_memory:
                failed["failed"] += f" ({self._wanted()})"
            return result | failed | self._seen(failed.get("failed", "")) | {"done": True}
        if self._latency is not None:
            result["latency"] = self._latency
        return (
            result
            | self._seen()
            | {
                "epoch": trainer.epoch,
                "numerics": trainer.numerics,
                "warning": trainer.warning,
                "done": trainer.epoch >= trainer.recipe.epochs or all(self._failed),
            }
        )

    def _seen(self, error: str = "") -> dict[str, Any]:
        """Say what became of each training; an error that ended one ended all of them."""
        reasons = [diverged or error for diverged in self._failed]
        members = [
            {"curve": curve, "failed": reason} if reason else {"curve": curve}
            for curve, reason in zip(self._curves, reasons, strict=True)
        ]
        if len(members) > 1:
            return {"members": members}
        (curve,) = self._curves
        return members[0] if reasons[0] or not curve else members[0] | curve[-1]

    def _train_epoch(self) -> Training:
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

    def _try_epoch(self) -> Training:
        if self._trainer is None:
            self._trainer = self._call(self._begin)
        trainer = self._trainer
        if trainer.epoch < trainer.recipe.epochs:
            turns = self._in_time(trainer.all_turns())
            for place, epoch in enumerate(self._seat.run(turns) if self._seat else finish(turns)):
                # One that diverged is computed on, since the others of a pack are, and not told.
                self._failed[place] = self._failed[place] or trainer.divergence(epoch)
                if not self._failed[place]:
                    self._curves[place].append(epoch.to_dict())
        if trainer.epoch < trainer.recipe.epochs and not all(self._failed):
            self._call(self._write)
        return trainer

    def _forget_epochs(self) -> None:
        self._curves = [[] for _ in self._seeds]
        self._failed = ["" for _ in self._seeds]

    def _write(self) -> None:
        assert self._trainer is not None
        seen = {"curves": self._curves, "failed": self._failed}
        state = {**self._trainer.state_dict(), **seen}
        self._writer.write(self._task["checkpoint"], state)

    def _call(self, function: Callable[[], T]) -> T:
        """Call where this training's work is done: on its stream, in turn with its neighbours."""
        return self._seat.call(function) if self._seat else function()

    def _in_time(
        self, turns: Generator[Wait, None, list[Epoch]]
    ) -> Generator[Wait, None, list[Epoch]]:
        """Hand turns on, as long as there is time."""
        timeout, start = self._task["timeout"], time.monotonic()
        longest = max(self._curves, key=len)
        before = sum(epoch["seconds"] for epoch in longest)
        while True:
            share = (time.monotonic() - start) / len(self._seeds)
            if timeout is not None and before + share > timeout:
                done = f"{len(longest)} of {counted(self._task['recipe']['epochs'], 'epoch')}"
                raise OvertimeError(f"it took longer than {timeout:g} s, for {done}")
            try:
                yield next(turns)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _begin(self) -> Training:
        task, data = self._task, self._data
        design, recipe = Design.from_dict(task["design"]), Recipe.from_dict(task["recipe"])
        if not self._parts:
            self._parts = self._foresee(design, recipe)
        models = [build(design, data.in_channels, data.classes, seed) for seed in self._seeds]
        if task["latency_batch"] is not None and self._latency is None:
            shape = (task["latency_batch"], data.in_channels, data.image_size)
            self._latency = latency(models[0], *shape, self._device, recipe.precision).seconds
        how: dict[str, Any] = {
            "parts": self._parts,
            "deterministic": task["deterministic"],
            "compiling": self._compiling,
        }
        trainer: Training
        if len(models) == 1:
            trainer = Trainer(models[0], data, recipe, self._seeds[0], **how)
        else:
            trainer = PackTrainer(models, data, recipe, self._seeds, **how)
        self._forget_epochs()
        self._writer.wait()
        content = self._store.read(task["checkpoint"])
        if content is not None:
            # One that is damaged, or of another version, costs its epochs and not the training.
            with contextlib.suppress(TrainingError):
                state = unpacked(content, self._device, task["checkpoint"])
                trainer.load_state_dict(state, task["checkpoint"])
                if "curve" in state:  # of a version without packs
                    state |= {"curves": [state["curve"]], "failed": [""]}
                self._curves, self._failed = state["curves"], state["failed"]
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
        one = cost(design, data.in_channels, data.image_size, data.classes).activation_bytes
        return len(self._seeds) * one

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
        with contextlib.suppress(OSError):  # told already, or of no use any more
            self._writer.wait()
        with contextlib.suppress(RuntimeError):  # of a device that is lost
            self._call(self._drop)

    def _drop(self) -> None:
        on_gpu = self._device.type == "cuda"
        try:
            if on_gpu:  # what it has been asked for would write into memory of the next training
                torch.cuda.current_stream(self._device).synchronize()
        finally:
            self._trainer = None
            if on_gpu:
                torch.cuda.empty_cache()

    def end(self) -> None:
        """Close a training that may go on in another process, and leave its seat."""
        self.close()
        if self._residents and self._seat:
            self._residents.leave(self._seat)
        self._residents = None

    def forget(self) -> None:
        """End a training that will not go on, and remove its checkpoint."""
        self.end()
        self._store.remove(self._task["checkpoint"])


def _describe(error: Exception) -> dict[str, Any]:
    """Return what the driver is told of an error that ended a training."""
    if isinstance(error, OvertimeError):
        return {"failed": str(error)}
    first_line = str(error).partition("\n")[0]
    if is_disk_full(error):  # no fault of the training: it goes on when there is room
        return {"disk_full": first_line}
    return {"failed": f"{type(error).__name__}: {first_line}"}
