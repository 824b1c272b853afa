"""Reading ahead of the next batches of mapped data, while a step is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from skipsearch.data import Split
from skipsearch.training.interleaving import Event, Wait, is_complete, requested_so_far

DEPTH = 2  # batches that are read ahead, and that may be queued for the copy to a GPU
THREADS = 2  # which read one batch each: a second one uses the time that the first waits for a disk

Batch = tuple[Tensor, Tensor]


def prefetched(split: Split) -> Split | Prefetcher:
    """Return a split that is read ahead if it is mapped; images in memory need no reading."""
    return Prefetcher(split) if split.is_mapped else split


class Prefetcher:
    """A split whose next batches are read in other threads.

    It gives the same batches as the split itself, whether or not they were announced. For a GPU,
    the threads also copy them to pinned memory. The copy from there is queued on the current
    stream, as is the work that uses the batch. The host waits for the copy of the last batch but
    one, so that little memory is pinned. PyTorch keeps it from reuse until its copy is complete.
    A training that shares its thread with others waits for ``ready`` before it takes a batch.

    Args:
        split: Mapped split.
    """

    def __init__(self, split: Split) -> None:
        self._device = split.images.device
        self._split = split.to("cpu")
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
        self._expected: dict[bytes, Future[Batch]] = {}
        self._copies: deque[Event | None] = deque()  # of the last batches

    def prefetch(self, index: Tensor) -> None:
        """Start to read a batch.

        Args:
            index: Index (n,) of each image, on the CPU.
        """
        key = index.numpy().tobytes()
        if key not in self._expected:
            self._expected[key] = self._pool.submit(self._read, index)

    def ready(self, index: Tensor) -> Generator[Wait, None, None]:
        """Yield what to wait for, so that ``batch`` returns an announced batch at once.

        An error of reading is raised by ``batch``.

        Args:
            index: Index (n,) of each image, on the CPU.
        """
        copied = self._copies[0] if len(self._copies) == DEPTH else None
        for each in (self._expected[index.numpy().tobytes()], copied):
            if not is_complete(each):
                yield each

    def batch(self, index: Tensor) -> Batch:
        """Return a batch on the split's device.

        If it was announced, batches that were announced before it are forgotten.

        Args:
            index: Index (n,) of each image, on the CPU.

        Raises:
            DataError: If a file has changed or is missing.
        """
        key = index.numpy().tobytes()
        if key not in self._expected:
            return self._copied(self._read(index))
        for earlier in self._until(key):
            self._expected.pop(earlier).cancel()
        return self._copied(self._expected.pop(key).result())

    def _until(self, key: bytes) -> Iterator[bytes]:
        """Yield the keys that were announced before one of them."""
        for each in list(self._expected):
            if each == key:
                return
            yield each

    def _read(self, index: Tensor) -> Batch:
        images, labels = self._split.batch(index)
        if self._device.type == "cuda":
            return images.pin_memory(), labels.pin_memory()
        return images, labels

    def _copied(self, batch: Batch) -> Batch:
        """Return a batch on the device; few copies are queued, so that little memory is pinned."""
        if len(self._copies) == DEPTH and (earlier := self._copies.popleft()):
            earlier.synchronize()
        images, labels = (each.to(self._device, non_blocking=True) for each in batch)
        self._copies.append(requested_so_far(self._device))
        return images, labels
