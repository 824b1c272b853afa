"""The types of pixels, and the raw value of each type that corresponds to 1."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.mapped import Images
from skipsearch.errors import DataError, counted, unknown_word

FULL_SCALES = {
    "uint8": 255.0,
    "uint16": 65_535.0,
    "float16": 1.0,
    "float32": 1.0,
}
PIECE = 2**24  # number of values that are converted together


def check_pixels(
    what: str, array: np.ndarray[Any, np.dtype[Any]], name: str, others: str = ""
) -> None:
    """Raise an error for pixels of a type that no network takes, or that are not finite.

    Args:
        what: Description of the array, with its type and shape.
        array: Array of any type.
        name: Name of the array in the expression that converts it.
        others: Clause on further arrays that are converted in the same way.
    """
    if array.dtype.name not in FULL_SCALES:
        advice = f": save {name}.astype('float32'){others}" if array.dtype.kind in "biuf" else ""
        raise DataError(f"{what}, expected {', '.join(FULL_SCALES)}{advice}")
    if array.dtype.kind == "f":
        parts = [array[n : n + 1_000] for n in range(0, len(array), 1_000)]  # to save memory
        odd = sum(int((~np.isfinite(part)).sum()) for part in parts)
        if not odd:
            return
        number = counted(odd, "value")
        raise DataError(
            f"{what} with {number} not finite (NaN or infinite): replace them, as"
            f" numpy.nan_to_num({name}) does"
        )


def pixel_type(images: Images) -> str:
    """Return the name of the type of images' pixels, such as ``uint8``."""
    return str(images.dtype).removeprefix("torch.")


def torch_type(word: str) -> torch.dtype:
    """Return the type of tensors, for the name of a type of pixels."""
    dtype: torch.dtype = getattr(torch, word)
    return dtype


def full_scale(images: Images) -> float:
    """Return the raw value that corresponds to 1."""
    return full_scale_of(pixel_type(images))


def full_scale_of(word: str) -> float:
    """Return the raw value that corresponds to 1, for the name of a type of pixels."""
    if word not in FULL_SCALES:
        raise unknown_word("type of pixels", word)
    return FULL_SCALES[word]


def pieces(images: Images) -> Iterator[Tensor]:
    """Yield batches of images (n, C, H, W) as float64, in units of the full scale."""
    together = max(1, PIECE // prod(images.shape[1:]))
    for start in range(0, len(images), together):
        yield images[start : start + together].double() / full_scale(images)
