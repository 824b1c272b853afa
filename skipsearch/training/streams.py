"""Several trainings on one device at once, in one process."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

import torch

from skipsearch.training.interleaving import Wait, is_complete

T = TypeVar("T")
Stream = torch.cuda.Stream | None  # None on the CPU


class Streams:
    """Device on which several threads train, each on a separate stream.

    A kernel of a small network leaves most of a GPU idle; several streams fill it. One thread does
    all work on the device and takes the steps of the trainings one after another. So only one step
    is recorded at a time, no training draws from the seed of another, and cuDNN, whose cache is per
    thread, tries its kernels once. The process must be dedicated to this: its global random state
    is not preserved.

    Args:
        device: Device of all trainings.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._lock = threading.Lock()
        self._free: list[Stream] = []
        self._new: SimpleQueue[_News] = SimpleQueue()
        threading.Thread(target=self._work, name="streams", daemon=True).start()

    @contextlib.contextmanager
    def slot(self) -> Generator[Slot]:
        """Provide a slot for the whole training: all its work runs on one stream."""
        slot = self.take_slot()
        try:
            yield slot
        finally:
            self.leave(slot)

    def take_slot(self) -> Slot:
        """Return a slot, which ``leave`` must release."""
        with self._lock:
            if self._free:
                return Slot(self._free.pop(), self._new)
        on_gpu = self._device.type == "cuda"
        return Slot(torch.cuda.Stream(self._device) if on_gpu else None, self._new)  # type: ignore[no-untyped-call]

    def leave(self, slot: Slot) -> None:
        """Release a slot for another training; all work requested there must have ended."""
        with self._lock:
            self._free.append(slot.stream)

    def close(self) -> None:
        """End the thread when all requested work has ended."""
        self._new.put(None)

    def _work(self) -> None:
        under_way: deque[_Work] = deque()
        closing = False
        idle = True
        while under_way or not closing:
            while idle or not self._new.empty():
                new = self._new.get()
                if isinstance(new, _Work):
                    under_way.append(new)
                closing = closing or new is None
                idle = False
                new = None  # keep no reference to a training that has ended
            idle = self._take_steps(under_way)

    def _take_steps(self, under_way: deque[_Work]) -> bool:
        """Take a step of each training that need not wait; if all must, wait for the device.

        Returns:
            Whether there is nothing to do before something is put into the queue.
        """
        waiting = 0
        for _ in range(len(under_way)):
            work = under_way.popleft()
            try:
                if not is_complete(work.waits_for):
                    waiting += 1
                elif not work.take_turn():
                    continue
                elif isinstance(work.waits_for, Future):
                    work.waits_for.add_done_callback(self._new.put)
            except BaseException as error:
                work.end().set_exception(error)
                continue
            under_way.append(work)
        if waiting < len(under_way):
            return False
        for work in under_way:
            if work.waits_for is not None and not isinstance(work.waits_for, Future):
                with contextlib.suppress(RuntimeError):  # raised in its owner at the next step
                    work.waits_for.synchronize()
                return False
        return True


class Slot:
    """Slot of a training on one stream of a device.

    Args:
        stream: Stream of all its work, in the order of the requests.
        work: Queue that the thread of the streams reads.
    """

    def __init__(self, stream: Stream, work: SimpleQueue[_News]) -> None:
        self.stream = stream
        self._new = work

    def run(self, steps: Generator[Wait, None, T]) -> T:
        """Run all steps, interleaved with those of others; return their result, or raise."""
        future: Future[T] = Future()
        self._new.put(_Work(steps, self.stream, future))
        try:
            return future.result()
        finally:
            del future, steps  # an exception references this frame: avoid a cycle

    def call(self, function: Callable[[], T]) -> T:
        """Call a function as one step; return its result, or raise."""
        return self.run(_one_turn(function))


@dataclass(slots=True)
class _Work:
    steps: Generator[Wait, None, Any]
    stream: Stream
    future: Future[Any] | None
    waits_for: Wait = None

    def take_turn(self) -> bool:
        """Take one step, and return whether there are more."""
        try:
            with torch.cuda.stream(self.stream):  # None: no effect
                self.waits_for = next(self.steps)
        except StopIteration as end:
            self.end().set_result(end.value)
            return False
        return True

    def end(self) -> Future[Any]:
        """Return and drop the future: its exception would form a reference cycle with this."""
        future, self.future = self.future, None
        assert future is not None
        return future


# What the thread reads: a new training, work of another thread that has ended, or None to close.
_News = _Work | Future[Any] | None


def _one_turn(function: Callable[[], T]) -> Generator[Wait, None, T]:
    return function()
    yield
