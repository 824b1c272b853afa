"""Places for decoded images and masks: the memory of this process, or files of the cache."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.memory import GIB, require_memory
from skipsearch.data.pruning import make_room


class Room(Protocol):
    """A place for tensors."""

    def reserve(self, needed: int, where: str) -> None:
        """Check that there is room before files are decoded.

        Args:
            needed: Number of bytes.
            where: Description of the data, for messages.

        Raises:
            DataError: If there is not enough memory.
            OSError: If there is not enough space in the cache.
        """

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return an uninitialised tensor.

        Args:
            name: Name of the tensor, such as ``train_images``.
            shape: Shape of the tensor.
            dtype: Type of its values.
        """


class Memory:
    """The memory of this process."""

    def reserve(self, needed: int, where: str) -> None:
        """Check that there is enough memory, twice as much for the division into splits."""
        require_memory(2 * needed, where, "give a smaller image_size")

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor in memory."""
        return torch.empty(shape, dtype=dtype)


class Files:
    """A folder with one .npy file for each tensor, which is written through memory mapping.

    Args:
        folder: Existing folder in the cache.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._written: list[np.memmap[tuple[int, ...], np.dtype[np.generic]]] = []

    def reserve(self, needed: int, where: str) -> None:
        """Check that there is enough space on the disk, after making room in the cache."""
        make_room(self._folder, needed)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise OSError(
                errno.ENOSPC,
                f"it takes {needed / GIB:,.1f} GiB, and {free / GIB:,.1f} GiB are free",
                str(self._folder),
            )

    def empty(self, name: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return a tensor in a new file, whose space on the disk is allocated."""
        path = self._folder / f"{name}.npy"
        array = np.lib.format.open_memmap(
            path, "w+", np.dtype(str(dtype).removeprefix("torch.")), shape
        )
        with path.open("r+b") as stream:  # or else a full disk would end the process
            os.posix_fallocate(stream.fileno(), 0, max(1, path.stat().st_size))
        self._written.append(array)
        return torch.from_numpy(array)

    def flush(self) -> None:
        """Write all changes to the disk."""
        for array in self._written:
            array.flush()
