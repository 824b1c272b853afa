"""A training, or a pack of several, in a worker: its start, its steps, and its use of memory.

Any error becomes part of the report, and the worker continues.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, NamedTuple, Self, TypeVar

import torch

from skipsearch.data import Data
from skipsearch.design import Design
from skipsearch.errors import OvertimeError, TrainingError, counted
from skipsearch.models import build
from skipsearch.recipe import Recipe
from skipsearch.record import Epoch
from skipsearch.searching.disk import is_disk_full
from skipsearch.searching.messages import Member, Report, Request
from skipsearch.training import (
    CheckpointWriter,
    CompileChoice,
    PackTrainer,
    Store,
    Streams,
    Trainer,
    bytes_an_image,
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

SMALLEST_PART = 8  # images; with fewer, batch statistics are useless
T = TypeVar("T")


class Job:
    """One training in a worker, or several seeds of one design as one packed network.

    Args:
        request: Requested training.
        data: Data set on the worker's device.
        store: Store of checkpoints.
        compiling: Decision on whether to compile networks; None to never compile.
        streams: Streams of the device, if several trainings share the worker.
    """

    def __init__(
        self,
        request: Request,
        data: Data,
        store: Store,
        compiling: CompileChoice | None = None,
        streams: Streams | None = None,
    ) -> None:
        self._request = request
        assert data.folds is None or len(request.seeds) == 1, "each seed has its own splits"
        self._data = data
        self._store = store
        self._device = data.train.images.device
        self._compiling = compiling
        self._streams = streams
        self._slot = streams.take_slot() if streams else None
        self._writer = CheckpointWriter(store)
        self._trainer: Training | None = None
        self._seeds = request.seeds
        self._curves: list[list[Epoch]] = []  # by place
        self._failed: list[str] = []  # how each one diverged; empty if it did not
        self._reset_epochs()
        self._parts = 0  # of a batch; 0 until they are estimated
        self._latency: float | None = None

    @property
    def timeout(self) -> float | None:
        """Time limit of all its trainings together, in seconds; None for no limit."""
        timeout = self._request.timeout
        return None if timeout is None else timeout * len(self._seeds)

    def step(self) -> Report:
        """Train one epoch and report its result."""
        error, lacks_memory = None, False
        try:
            trainer = self._train_epoch()
        except Exception as caught:
            lacks_memory = is_out_of_memory(caught)
            error = _Error.of(caught)
        if error is not None:
            # Not in the handler: the exception references tensors.
            self.close()
            lost = self._is_lost()
            reason = error.reason
            if lacks_memory and not lost:
                reason += f" ({self._call(self._memory_needed)})"
            return Report(
                members=self._members(reason),
                done=True,
                device=device_name(self._device),
                disk_full=error.disk_full,
                device_lost=lost,
            )
        return Report(
            members=self._members(),
            done=trainer.epoch >= trainer.recipe.epochs or all(self._failed),
            device=device_name(self._device),
            numerics=trainer.numerics,
            warning=trainer.warning,
            latency=self._latency,
        )

    def _members(self, reason: str = "") -> tuple[Member, ...]:
        """Return the state of each training; an error that ends one ends all of them."""
        return tuple(
            Member(tuple(curve), diverged or reason)
            for curve, diverged in zip(self._curves, self._failed, strict=True)
        )

    def _train_epoch(self) -> Training:
        """Train one epoch; if memory runs out, retry from the last checkpoint in more parts."""
        while True:
            try:
                return self._try_epoch()
            except Exception as error:
                if not is_out_of_memory(error) or not self._may_divide():
                    raise
            # Not in the handler: the exception references tensors.
            self.close()
            self._parts *= 2

    def _try_epoch(self) -> Training:
        if self._trainer is None:
            self._trainer = self._call(self._begin)
        trainer = self._trainer
        if trainer.epoch < trainer.recipe.epochs:
            steps = self._in_time(trainer.all_steps())
            for place, epoch in enumerate(self._slot.run(steps) if self._slot else finish(steps)):
                # A diverged member is still computed with the others, but not reported.
                self._failed[place] = self._failed[place] or trainer.divergence(epoch)
                if not self._failed[place]:
                    self._curves[place].append(epoch)
        if trainer.epoch < trainer.recipe.epochs and not all(self._failed):
            self._call(self._write)
        return trainer

    def _reset_epochs(self) -> None:
        self._curves = [[] for _ in self._seeds]
        self._failed = ["" for _ in self._seeds]

    def _write(self) -> None:
        assert self._trainer is not None
        curves = [[epoch.to_dict() for epoch in curve] for curve in self._curves]
        state = {**self._trainer.state_dict(), "curves": curves, "failed": self._failed}
        self._writer.write(self._request.checkpoint, state)

    def _call(self, function: Callable[[], T]) -> T:
        """Call a function on this training's stream, interleaved with other trainings."""
        return self._slot.call(function) if self._slot else function()

    def _in_time(
        self, steps: Generator[Wait, None, list[Epoch]]
    ) -> Generator[Wait, None, list[Epoch]]:
        """Yield the steps up to the time limit.

        Raises:
            OvertimeError: If the training takes longer.
        """
        timeout, start = self._request.timeout, time.monotonic()
        longest = max(self._curves, key=len)
        before = sum(epoch.seconds for epoch in longest)
        while True:
            share = (time.monotonic() - start) / len(self._seeds)
            if timeout is not None and before + share > timeout:
                done = f"{len(longest)} of {counted(self._request.recipe.epochs, 'epoch')}"
                raise OvertimeError(f"it took longer than {timeout:g} s, for {done}")
            try:
                yield next(steps)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def _begin(self) -> Training:
        # Not in the constructor: a lack of memory is reported like that of a step.
        request, data = self._request, self._data.for_seed(self._seeds[0])
        self._data = data
        design, recipe = request.design, request.recipe
        if not self._parts:
            self._parts = self._estimate_parts(design, recipe)
        models = [build(design, data.in_channels, data.outputs, seed) for seed in self._seeds]
        if request.latency_batch is not None and self._latency is None:
            self._latency = latency(
                models[0],
                request.latency_batch,
                data.in_channels,
                data.image_size,
                self._device,
                recipe.precision,
            ).seconds
        how: dict[str, Any] = {
            "parts": self._parts,
            "deterministic": request.deterministic,
            "compiling": self._compiling,
        }
        trainer: Training
        if len(models) == 1:
            trainer = Trainer(models[0], data, recipe, self._seeds[0], **how)
        else:
            trainer = PackTrainer(models, data, recipe, self._seeds, **how)
        self._reset_epochs()
        self._writer.wait()
        content = self._store.read(request.checkpoint)
        if content is not None:
            # A damaged checkpoint, or one of another version, loses only its epochs.
            with contextlib.suppress(TrainingError):
                state = unpacked(content, self._device, request.checkpoint)
                if not {"curves", "failed"} <= state.keys():
                    raise TrainingError(f"{request.checkpoint} is of another version")
                trainer.load_state_dict(state, request.checkpoint)
                self._curves = [list(map(Epoch.from_dict, curve)) for curve in state["curves"]]
                self._failed = state["failed"]
        return trainer

    def _estimate_parts(self, design: Design, recipe: Recipe) -> int:
        return foreseen_parts(
            self._bytes_an_image(design, recipe),
            self._batch_size(),
            free_memory(self._device) * self._request.memory_fraction,
        )

    def _bytes_an_image(self, design: Design, recipe: Recipe) -> int:
        return len(self._seeds) * bytes_an_image(design, self._data, recipe)

    def _batch_size(self) -> int:
        return min(self._request.recipe.batch_size, len(self._data.train))

    def _memory_needed(self) -> str:
        """Describe how much memory the smallest part of a batch that was tried needs."""
        images = self._batch_size() // max(1, self._parts)
        wanted = images * self._bytes_an_image(self._request.design, self._request.recipe)
        free = free_memory(self._device)
        return (
            f"{images} images at once hold {wanted / 1e9:.2f} GB of activations;"
            f" {free / 1e9:.2f} GB are free"
        )

    def _is_lost(self) -> bool:
        """Return whether the device is lost; checked while no CUDA graph is being captured."""
        try:
            return self._call(partial(is_lost, self._device))
        except RuntimeError:  # not even its stream works
            return True

    def _may_divide(self) -> bool:
        """Return whether parts of half the size are large enough."""
        return self._parts > 0 and self._batch_size() // (2 * self._parts) >= SMALLEST_PART

    def close(self) -> None:
        """Release memory after all writes are complete."""
        with contextlib.suppress(OSError):  # already reported, or no longer relevant
            self._writer.wait()
        with contextlib.suppress(RuntimeError):  # of a lost device
            self._call(self._release)

    def _release(self) -> None:
        on_gpu = self._device.type == "cuda"
        try:
            if on_gpu:  # its pending work would write into memory of the next training
                torch.cuda.current_stream(self._device).synchronize()
        finally:
            self._trainer = None
            if on_gpu:
                torch.cuda.empty_cache()

    def end(self) -> None:
        """Close a training that may be resumed in another process, and leave its slot."""
        self.close()
        if self._streams and self._slot:
            self._streams.leave(self._slot)
        self._streams = None

    def discard(self) -> None:
        """End a training that will not be resumed, and remove its checkpoint."""
        self.end()
        self._store.remove(self._request.checkpoint)


class _Error(NamedTuple):
    """Report of an error that ended a training."""

    reason: str = ""
    disk_full: str = ""

    @classmethod
    def of(cls, error: Exception) -> Self:
        if isinstance(error, OvertimeError):
            return cls(str(error))
        first_line = str(error).partition("\n")[0]
        if is_disk_full(error):  # not due to the training, which is resumed later
            return cls(disk_full=first_line)
        return cls(f"{type(error).__name__}: {first_line}")
