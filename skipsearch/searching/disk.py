"""Disk space: the requirements of a search, the free space, and the detection of a full disk."""

from __future__ import annotations

import errno
import random
import shutil
from pathlib import Path

from skipsearch.cost import cost
from skipsearch.errors import RunError
from skipsearch.space import Space

DRAWS = 50  # sampled designs for the size of a checkpoint
BYTES_A_WEIGHT = 8  # the weight and its momentum, in float32
COPIES = 2  # a checkpoint exists until its successor is written
BYTES_A_TRIAL = 8_000  # with a margin: in SQLite, 5 kB per trial and 0.2 kB per epoch were measured
BYTES_AN_EPOCH = 400
FULL = (errno.ENOSPC, errno.EDQUOT)
FULL_WORDS = ("disk is full", "No space left on device", "Disk quota exceeded")


def forecast(
    folder: Path, space: Space, trials: int, epochs: int, at_once: int, pack: int = 1
) -> str:
    """Describe how much a search will write.

    Args:
        folder: Run folder.
        space: Space of the designs.
        trials: Number of remaining trials.
        epochs: Number of epochs of each.
        at_once: Number of checkpoints at once; those of ended trainings are deleted.
        pack: Maximum number of networks in each checkpoint.

    Raises:
        RunError: If there is not enough free space.
    """
    rng = random.Random(0)
    images = (space.in_channels, space.image_size, space.classes)
    largest = max(cost(space.sample(rng), *images).params for _ in range(DRAWS))
    checkpoints = largest * BYTES_A_WEIGHT * COPIES * at_once * pack
    records = trials * (BYTES_A_TRIAL + epochs * BYTES_AN_EPOCH)
    free = shutil.disk_usage(folder).free
    wanted = f"checkpoints of about {_shown(checkpoints)} at once, records of {_shown(records)}"
    if checkpoints + records > free:
        raise RunError(f"{folder}: the search will write {wanted}; {_shown(free)} are free there")
    return f"disk: {wanted}; {_shown(free)} free"


def is_disk_full(error: BaseException | None) -> bool:
    """Return whether an exception, or one of its causes, means that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        if any(words in str(error) for words in FULL_WORDS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _shown(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
