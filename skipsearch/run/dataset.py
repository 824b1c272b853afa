"""Loading the data set of a run again, and comparing it with that of the search."""

from __future__ import annotations

import hashlib
import unicodedata
from pathlib import Path

from skipsearch.config import DataConfig
from skipsearch.data import Data, load_data
from skipsearch.errors import DataError, RunError

NAMES_SHOWN = 10
LONGEST_SHOWN = 200  # characters of the names


def load_again(
    run: Path,
    asked: DataConfig,
    device: str,
    data: str | Path | Data | None = None,
    data_root: str | Path | None = None,
) -> Data:
    """Load the data set of a run again for further trainings, and check that it is the same.

    Args:
        run: Run folder, for messages.
        asked: Configuration of the data set in the search.
        device: Device of the tensors.
        data: Current location of the data, or ``Data``; None for the location used by the search.
        data_root: Folder of the data set's files; None for the folder used by the search.

    Raises:
        RunError: If its images, labels, splits or class names differ from those of the search, or
            this version of skipsearch trains in another way.
        DataError: If it is missing.
    """
    task = asked.judged_task
    if asked.task_version != task.version:
        other = task.difference(asked.task_version, task.version)
        raise RunError(f"{run}: {other}; search again, in another folder")
    if isinstance(data, Data):
        _check_same(run, asked, data, "the given data are not what was searched")
        return data.to(device).judged_by(task.metric.name)
    if data is None and asked.is_given:
        raise RunError(
            f"{run}: its data {asked.name!r} were given in Python: give them again (data=...)"
        )
    try:
        images = load_data(
            asked.name if data is None else data,
            root=data_root or asked.root,
            device=device,
            image_size=asked.resized_to,
            split_seed=asked.split_seed,
            denoise=asked.sigma or None,
            cache=asked.cache,
            skip_damaged=asked.skip_damaged,
            group_folders=asked.group_folders,
        )
    except DataError as error:
        moved = "; if they have moved, say where by --data or --data-root"
        raise DataError(f"{error}{'' if data or data_root else moved}") from None
    change = "has changed since the search" if data is None else "is not what was searched"
    _check_same(run, asked, images, f"data {data or asked.name} {change}")
    return images.judged_by(task.metric.name)


def _check_same(run: Path, asked: DataConfig, images: Data, otherwise: str) -> None:
    if images.fingerprint != asked.fingerprint:
        raise RunError(
            f"{run}: {otherwise} (fingerprint {images.fingerprint}, {asked.fingerprint} then)"
        )
    names = described_names(images)
    if asked.class_names is not None and names != asked.class_names:
        raise RunError(f"{run}: {otherwise} (class names {names}, {asked.class_names} then)")


def described_names(images: Data) -> str | None:
    """Return the first names of classes, labels or targets with a hash of all; None if unused.

    The text identifies the names, and is short even for thousands of classes.

    Args:
        images: Data set.
    """
    if images.task.restores:
        return None
    names = [unicodedata.normalize("NFC", name) for name in images.class_names]
    shown = ", ".join(names[:NAMES_SHOWN])[:LONGEST_SHOWN]
    digest = hashlib.blake2b("\0".join(names).encode(), digest_size=4).hexdigest()
    return f"{shown}{', ...' * (len(names) > NAMES_SHOWN)} ({len(names)}, hash {digest})"
