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
        path: The file; its folder is made where it is missing.
        state: As ``Trainer.state_dict`` returns it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, _packed(state))


def load_checkpoint(path: str | Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        TrainingError: If the file is missing or no checkpoint of ours.
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
    """Read the content of a checkpoint; nothing in it is run.

    Raises:
        TrainingError: If it is no checkpoint of ours.
    """
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # torch.load raises whatever its unpickler stumbles over
        raise TrainingError(f"{where}: not a checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise TrainingError(f"{where}: not a checkpoint of this package")
    return state


class Store(Protocol):
    """Where checkpoints are kept, by name."""

    def read(self, name: str) -> bytes | None:
        """Return a checkpoint's content; None where there is none."""

    def write(self, name: str, content: bytes) -> None:
        """Replace a checkpoint's content, at once."""

    def remove(self, name: str) -> None:
        """Remove a checkpoint, if it is there."""


class Folder:
    """Checkpoints as files of a folder.

    Args:
        path: Made with the first file.
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def read(self, name: str) -> bytes | None:
        """Return a checkpoint's content; None where there is none."""
        try:
            return (self._path / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Replace a checkpoint's content; a crash leaves the old file or the new one."""
        self._path.mkdir(parents=True, exist_ok=True)
        write_atomically(self._path / name, content)

    def remove(self, name: str) -> None:
        """Remove a checkpoint, if it is there."""
        (self._path / name).unlink(missing_ok=True)

    def names(self) -> list[str]:
        """Return the names of all checkpoints."""
        return [path.name for path in self._path.glob("*.pt")]

    def sweep(self) -> None:
        """Remove what a process that was killed left half-written."""
        for part in self._path.glob(".*.part"):
            part.unlink()


class CheckpointWriter:
    """Writes checkpoints in a thread of its own while training goes on, one after another.

    Args:
        store: Where to.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._thread.submit(int)  # starts the thread now: later there may be no memory for one
        self._pending: Future[None] | None = None

    def write(self, name: str, state: dict[str, Any]) -> None:
        """Copy the state to the CPU now, and write it behind the caller's back.

        Raises:
            OSError: If the write before this one failed.
        """
        self.wait()
        self._pending = self._thread.submit(self._write, name, _copy(state))

    def _write(self, name: str, state: dict[str, Any]) -> None:
        self._store.write(name, _packed(state))

    def wait(self) -> None:
        """Return when everything is written.

        Raises:
            OSError: If it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()


def _copy(value: Any) -> Any:
    """Copy tensors to the CPU and containers with them: training goes on in the originals."""
    match value:
        case Tensor():
            return value.detach().to("cpu", copy=True)
        case dict():
            return {key: _copy(each) for key, each in value.items()}
        case list() | tuple():
            return [_copy(each) for each in value]
        case _:
            return value
