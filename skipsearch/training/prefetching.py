"""Reading ahead of the next batches of mapped data, while a step is computed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from torch import Tensor

from skipsearch.data import Split

DEPTH = 2  # batches that are read ahead
THREADS = 2  # which read one batch each: a second one uses the time that the first waits for a disk

Batch = tuple[Tensor, Tensor]


def prefetched(split: Split) -> Split | Prefetcher:
    """Return a split that is read ahead if it is mapped; images in memory need no reading."""
    return Prefetcher(split) if split.is_mapped else split


class Prefetcher:
    """A split whose next batches are read in other threads.

    It gives the same batches as the split itself, whether or not they were announced.

    Args:
        split: Split, on the CPU.
    """

    def __init__(self, split: Split) -> None:
        self._split = split
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="batches")
        self._expected: dict[bytes, Future[Batch]] = {}

    def prefetch(self, index: Tensor) -> None:
        """Start to read a batch.

        Args:
            index: Index (n,) of each image.
        """
        key = index.numpy().tobytes()
        if key not in self._expected:
            self._expected[key] = self._pool.submit(self._split.batch, index)

    def batch(self, index: Tensor) -> Batch:
        """Return a batch; batches that were announced before it are forgotten.

        Args:
            index: Index (n,) of each image.

        Raises:
            DataError: If a file has changed or is missing.
        """
        key = index.numpy().tobytes()
        if key not in self._expected:
            self.clear()
            return self._split.batch(index)
        for earlier in self._until(key):
            self._expected.pop(earlier).cancel()
        return self._expected.pop(key).result()

    def clear(self) -> None:
        """Forget all batches that were announced."""
        for future in self._expected.values():
            future.cancel()
        self._expected.clear()

    def _until(self, key: bytes) -> Iterator[bytes]:
        """Yield the keys that were announced before one of them."""
        for each in list(self._expected):
            if each == key:
                return
            yield each
