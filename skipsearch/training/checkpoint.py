"""Checkpoints of a training: written atomically, read without unpickling objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

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
