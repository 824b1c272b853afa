"""A source as it was read, before it is resized and divided, and what all kinds of them need."""

import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch

from skipsearch.data.images import GIB, Split
from skipsearch.data.notes import Notes
from skipsearch.errors import DataError
from skipsearch.ram import available_ram

Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Read:
    """A source as it was read: its parts, of which only "train" is always there."""

    parts: dict[str, Split]
    class_names: tuple[str, ...]
    augmentation: dict[str, int | bool]
    source: str
    notes: Notes = field(default_factory=Notes)


def path_of(value: str | Path, what: str) -> Path:
    """Return an absolute path, or refuse what cannot be one.

    Args:
        value: The path as it was given; ~ is the home folder.
        what: The argument that it was given for.

    Raises:
        DataError: It is empty, not UTF-8, no text at all, or needs a home folder that is missing.
    """
    if not isinstance(value, str | os.PathLike):
        raise DataError(f"{what}: {value!r} is neither a text nor a path")
    text = os.fspath(value)
    if not isinstance(text, str) or not text or "\0" in text:
        raise DataError(f"{what}: {text!r} is not a path")
    require_utf8(text, what)
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:  # pathlib's, of a user who has none
        raise DataError(
            f"{what}: {text} needs a home folder, and there is none: give a path without ~, "
            "or set HOME"
        ) from None
    except FileNotFoundError:
        raise DataError(f"{what}: {text} needs the working directory, which is gone") from None


def require_utf8(text: str, what: str) -> None:
    """Refuse a name of a file that is not UTF-8, since it could neither be recorded nor shown.

    Raises:
        DataError: It is not.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataError(f"{what}: the name {text!a} is not UTF-8: rename it") from None


def require_memory(needed: float, where: str, remedy: str) -> None:
    """Refuse what main memory does not hold, before any of it is allocated.

    Args:
        needed: Bytes.
        where: What needs them.
        remedy: What the user can do.

    Raises:
        DataError: Fewer bytes are available.
    """
    available = available_ram()
    if needed > available:
        raise DataError(
            f"{where} need {needed / GIB:,.1f} GiB of memory, and {available / GIB:,.1f} GiB are "
            f"available: {remedy}"
        )


def no_class(name: str, class_names: tuple[str, ...]) -> str:
    """Say that a name is none of the classes, with the nearest of them."""
    near = get_close_matches(name, class_names, n=1, cutoff=0.5)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"{name!r} is no such class as the training images have{hint}"


def split_of_arrays(
    where: str, images: Array, labels: Array, class_names: tuple[str, ...]
) -> Split:
    """Make a split of images (N, H, W) or (N, H, W, C) and labels (N,), once they agree."""
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(labels)} labels for {len(images)} images")
    for label in (labels.min(), labels.max()):
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{where}: label {label} is not in 0..{len(class_names) - 1}, one for each of the "
                f"{len(class_names)} classes"
            )
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(labels.astype(np.int64)),
    )
