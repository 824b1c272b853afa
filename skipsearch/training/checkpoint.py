"""Checkpoints of a training: written atomically, read without unpickling objects."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from skipsearch.errors import TrainingError
from skipsearch.text import write_atomically


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a crash leaves the old file or the new one.

    Args:
        path: Path of the file; a missing folder is created.
        state: State from ``Trainer.state_dict``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _packed(state))


def load_checkpoint(path: str | Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        TrainingError: If the file is missing or not a checkpoint of skipsearch.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise TrainingError(f"{path}: not a checkpoint ({type(error).__name__})") from None
    return unpacked(content, device, str(path))


def _packed(state: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def unpacked(content: bytes, device: torch.device, where: str) -> dict[str, Any]:
    """Decode the content of a checkpoint without executing anything in it.

    Raises:
        TrainingError: If it is not a checkpoint of skipsearch.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # torch.load passes on any error of its unpickler
        raise TrainingError(f"{where}: not a checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise TrainingError(f"{where}: not a checkpoint of this package")
    return state


class Store(Protocol):
    """Storage of checkpoints by name."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a checkpoint; None if it does not exist."""

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a checkpoint atomically."""

    def remove(self, name: str) -> None:
        """Remove a checkpoint if it exists."""


class Folder:
    """Checkpoints as files in a folder.

    Args:
        path: Path of the folder, created with the first file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def read(self, name: str) -> bytes | None:
        """Return the content of a checkpoint; None if it does not exist."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace the content of a checkpoint; a crash leaves the old or the new file."""
        self._path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path / name, content)

    def remove(self, name: str) -> None:
        """Remove a checkpoint if it exists."""
        (self._path / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all checkpoints."""
        return [path.name for path in self._path.glob("*.pt")]

    def sweep(self) -> None:
        """Remove incomplete files of killed processes."""
        for part in self._path.glob(".*.part"):
            part.unlink()


class CheckpointWriter:
    """Writer of checkpoints, one after another in a background thread while training continues.

    Args:
        store: Store to write to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._thread.submit(int)  # start the thread while there is memory for it
        self._pending: Future[None] | None = None

    def write(self, name: str, state: dict[str, Any]) -> None:
        """Copy the state to the CPU now, and write it in the background.

        Raises:
            OSError: If the previous write failed.
        """
        self.wait()
        self._pending = self._thread.submit(self._write, name, _copy(state))

    def _write(self, name: str, state: dict[str, Any]) -> None:
        self._store.write(name, _packed(state))

    def wait(self) -> None:
        """Wait until everything is written.

        Raises:
            OSError: If the last write failed.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _copy(value: Any) -> Any:
    """Copy tensors to the CPU, and their containers: training continues to change the originals."""
    match value:
        case Tensor():
            return value.detach().to("cpu", copy=True)
        case dict():
            return {key: _copy(each) for key, each in value.items()}
        case list() | tuple():
            return [_copy(each) for each in value]
        case _:
            return value
