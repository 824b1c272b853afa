"""Images and masks that stay in files: memory-mapped, and read a batch at a time."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

from skipsearch.errors import ChangedError

Array = np.ndarray[Any, np.dtype[Any]]

CPU = torch.device("cpu")
CHUNK_BYTES = 2**24  # of images that are read together in one pass over a split


class Stamp(NamedTuple):
    """What tells that a file has changed.

    Attributes:
        size: Number of bytes.
        time: Time of the last change of the content in nanoseconds, which programs can set.
        change: Time of the last change of the content or the attributes, set by the system alone.
    """

    size: int
    time: int
    change: int

    @classmethod
    def of(cls, file: int | str | Path) -> Self:
        """Return the stamp of an open file or a path."""
        return cls.of_status(os.stat(file))

    @classmethod
    def of_status(cls, status: os.stat_result) -> Self:
        """Return the stamp of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """An array in a file, in C order.

    Attributes:
        path: Absolute path of the file.
        stamp: Stamp of the file when it was examined.
        offset: Position of the first value in bytes.
        dtype: Type of the values, as NumPy writes it.
        shape: Shape of the array: images (N, H, W), (N, H, W, C) or (N, C, H, W), masks (N, H, W).
        form: Shape of an item as a tensor: (C, H, W), or (H, W) for masks.
        channels_last: Whether the channels are the last axis in the file.
    """

    path: Path
    stamp: Stamp
    offset: int
    dtype: str
    shape: tuple[int, ...]
    form: tuple[int, ...]
    channels_last: bool = False

    @property
    def end(self) -> int:
        """Position after the last value in bytes."""
        return self.offset + prod(self.shape) * np.dtype(self.dtype).itemsize

    @property
    def is_unchanged(self) -> bool:
        """Whether the file exists on this machine, as it was when it was examined."""
        try:
            return Stamp.of(self.path) == self.stamp
        except OSError:
            return False


class _Opened:
    """An open file; its content is checked for changes whenever it is read.

    Attributes:
        array: Whole array, mapped, without these checks.
    """

    def __init__(self, file: ArrayFile) -> None:
        self._file = file
        try:
            number = os.open(file.path, os.O_RDONLY)
        except OSError as error:
            raise ChangedError(
                f"{file.path}: the images are in this file, and it cannot be opened:"
                f" {error.strerror}"
            ) from None
        weakref.finalize(self, os.close, number)
        with contextlib.suppress(OSError):  # some file systems have no locks
            fcntl.flock(number, fcntl.LOCK_SH | fcntl.LOCK_NB)  # the cache keeps what is open
        self._number = number
        self._item = prod(file.shape[1:]) * np.dtype(file.dtype).itemsize
        if Stamp.of(number) != file.stamp:
            raise self.changed()
        mapped = mmap.mmap(number, 0, prot=mmap.PROT_READ)
        self.array: Array = np.ndarray(file.shape, file.dtype, mapped, file.offset)

    def read(self, rows: Array | slice) -> Array:
        """Return items in the form of tensors, copied to memory."""
        self._check()
        if isinstance(rows, slice):
            found = self.array[rows].copy()
        else:
            # All at once, so that a disk serves them together: 9 times as fast as page by page.
            for row in rows.tolist():
                start = self._file.offset + row * self._item
                os.posix_fadvise(self._number, start, self._item, os.POSIX_FADV_WILLNEED)
            found = self.array.take(rows, 0)
        self._check()
        if self._file.channels_last:
            found = np.ascontiguousarray(found.transpose(0, 3, 1, 2))
        return found.reshape(-1, *self._file.form)

    def _check(self) -> None:
        # Without the time of the attributes, which changes when an open file is removed or linked.
        now, then = Stamp.of(self._number), self._file.stamp
        if (now.size, now.time) != (then.size, then.time):
            raise self.changed()

    def changed(self) -> ChangedError:
        """Return the error that the file has changed."""
        return ChangedError(f"{self._file.path}: has changed since it was read: load it again")


_OPENED: weakref.WeakValueDictionary[ArrayFile, _Opened] = weakref.WeakValueDictionary()


def _opened(file: ArrayFile) -> _Opened:
    """Return an open file, which all splits of this process share."""
    found = _OPENED.get(file)
    if found is None:
        found = _OPENED[file] = _Opened(file)
    return found


def array_of(file: ArrayFile) -> Array:
    """Return the array in a file, mapped; later changes of the file show in it.

    Raises:
        DataError: If the file has changed or is missing.
    """
    opened = _opened(file)
    if not file.is_unchanged:  # replaced at its path, while an earlier one is still open here
        raise opened.changed()
    return opened.array


class Mapped:
    """Images (N, C, H, W) or masks (N, H, W) in one or several files.

    It has the attributes of a tensor that describe it. Any index reads a copy into memory of its
    device. Pickled, it is a reference on the CPU to its files, which must exist where it is used.

    Args:
        files: Files, whose items follow each other.
        rows: Number of each item in the sequence of all items; None for all in their order.
        device: Device that items are copied to.
    """

    def __init__(
        self,
        files: tuple[ArrayFile, ...],
        rows: Array | None = None,
        device: torch.device = CPU,
    ) -> None:
        assert len({(file.dtype, file.form) for file in files}) == 1, "expected one kind"
        self.files = files
        self.device = device
        self._rows = rows
        self._ends = np.cumsum([file.shape[0] for file in files])
        self._opened: list[_Opened] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.files, self._rows)

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._rows is None else len(self._rows)

    @property
    def shape(self) -> torch.Size:
        """Shape of all items."""
        return torch.Size((len(self), *self.files[0].form))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> torch.dtype:
        """Type of the values."""
        dtype: torch.dtype = getattr(torch, np.dtype(self.files[0].dtype).name)
        return dtype

    @property
    def itemsize(self) -> int:
        """Number of bytes of a value."""
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Number of bytes of all items."""
        return prod(self.shape) * self.itemsize

    def __getitem__(self, index: Tensor | slice) -> Tensor:
        """Read items.

        Args:
            index: Index (n,) of each item, or a slice.

        Returns:
            Items (n, ...) on the device.

        Raises:
            DataError: If a file has changed or is missing.
        """
        return self._read(index).to(self.device)

    def open(self) -> None:
        """Open the files, which stay readable here if they are replaced or removed later.

        Raises:
            DataError: If a file has changed or is missing.
        """
        if not self._opened:
            self._opened = [_opened(file) for file in self.files]

    def _read(self, index: Tensor | slice) -> Tensor:
        self.open()
        if isinstance(index, Tensor):
            given = index.cpu().numpy()
            rows = given if self._rows is None else self._rows[given]
        elif self._rows is not None:
            rows = self._rows[index]
        elif len(self.files) == 1:
            return torch.from_numpy(self._opened[0].read(index))
        else:
            rows = np.arange(*index.indices(len(self)))
        if len(self.files) == 1:
            return torch.from_numpy(self._opened[0].read(rows))
        found = np.empty((len(rows), *self.files[0].form), self.files[0].dtype)
        starts = self._ends - [file.shape[0] for file in self.files]
        for opened, start, end in zip(self._opened, starts, self._ends, strict=True):
            there = (start <= rows) & (rows < end)
            found[there] = opened.read(rows[there] - start)
        return torch.from_numpy(found)

    def at(self, rows: Array) -> Mapped:
        """Return some of the items, without reading them.

        Args:
            rows: Index (n,) of each item.
        """
        kept = rows if self._rows is None else self._rows[rows]
        return Mapped(self.files, kept, self.device)

    def in_files(self, files: tuple[ArrayFile, ...]) -> Mapped:
        """Return the same items of other files with the same content."""
        return Mapped(files, self._rows, self.device)

    def on(self, device: torch.device) -> Mapped:
        """Return the same items, still in their files, to be copied to a device when read.

        Raises:
            DataError: If a file has changed or is missing.
        """
        if device == self.device:
            return self
        found = Mapped(self.files, self._rows, device)
        # Shared, so that files that are replaced or removed stay readable here as well.
        self.open()
        found._opened = self._opened
        return found

    def followed_by(self, other: Mapped) -> Mapped:
        """Return the items of this and of another one, without reading them."""
        mine, theirs = (
            np.arange(len(each)) if each._rows is None else each._rows for each in (self, other)
        )
        if self.files == other.files:
            return Mapped(self.files, np.concatenate([mine, theirs]), self.device)
        rows = np.concatenate([mine, theirs + int(self._ends[-1])])
        return Mapped((*self.files, *other.files), rows, self.device)

    def to(self, device: torch.device) -> Tensor | Mapped:
        """Return this on the CPU, or all items in the memory of another device."""
        if device.type == "cpu":
            return self.on(device)
        found = torch.empty(self.shape, dtype=self.dtype, device=device)
        start = 0
        for chunk in chunks(self):
            found[start : start + len(chunk)] = chunk.to(device)
            start += len(chunk)
        return found


Images: TypeAlias = Tensor | Mapped


def chunks(images: Images) -> Iterator[Tensor]:
    """Yield contiguous parts of images or masks, such that one pass needs little memory."""
    together = max(1, CHUNK_BYTES // max(1, prod(images.shape[1:]) * images.itemsize))
    for start in range(0, len(images), together):
        yield images[start : start + together].contiguous()


def joined(one: Images, other: Images) -> Images:
    """Return the items of one and then of the other."""
    if isinstance(one, Mapped) and isinstance(other, Mapped):
        return one.followed_by(other)
    return torch.cat([each if isinstance(each, Tensor) else each[:] for each in (one, other)])
