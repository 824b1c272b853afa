"""A single image in an .npy file."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipsearch.errors import DataError, reason
from skipsearch.plan import Size

ARRAY = ".npy"


def read_image_array(path: str | Path, channels: int, size: Size, pixels: str) -> Tensor:
    """Read one image for a network.

    Args:
        path: File of an array (H, W), (H, W, C) or (C, H, W).
        channels: Number of channels.
        size: Height and width.
        pixels: Type of the pixels.

    Returns:
        Pixels (channels, height, width).

    Raises:
        DataError: If the file cannot be read, or its array has another type or shape.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises errors of many kinds
        raise DataError(f"{path}: unreadable as an {ARRAY} file ({reason(error)})") from None
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: an archive of arrays, expected one image in an {ARRAY} file")
    if array.dtype.name != pixels:
        raise DataError(f"{path}: {array.dtype} pixels, and the network takes {pixels}")
    if array.ndim == 2:
        array = array[None]
    elif array.shape == (*size, channels):
        array = array.transpose(2, 0, 1)
    if array.shape != (channels, *size):
        raise DataError(
            f"{path}: an image of {array.shape}, and the network takes"
            f" {(channels, *size)} or {(*size, channels)}"
        )
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise DataError(f"{path}: values that are not finite (NaN or infinite)")
    return torch.from_numpy(np.ascontiguousarray(array))
