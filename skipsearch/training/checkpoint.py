"""Checkpoints of a training: written atomically, read without unpickling objects."""

from __future__ import annotations

import io
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

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
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(path, buffer.getvalue())


def load_checkpoint(path: str | Path, device: torch.device) -> dict[str, Any]:
    """Read a checkpoint.

    Raises:
        TrainingError: If the file is missing or no checkpoint of ours.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # torch.load raises whatever its unpickler stumbles over
        raise TrainingError(f"{path}: not a checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise TrainingError(f"{path}: not a checkpoint of this package")
    return state


class CheckpointWriter:
    """Writes checkpoints in a thread of its own while training goes on, one after another."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "checkpoints")
        self._thread.submit(int)  # starts the thread now: later there may be no memory for one
        self._pending: Future[None] | None = None

    def write(self, path: str | Path, state: dict[str, Any]) -> None:
        """Copy the state to the CPU now, and write it behind the caller's back.

        Raises:
            OSError: If the write before this one failed.
        """
        self.wait()
        self._pending = self._thread.submit(save_checkpoint, path, _copy(state))

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
