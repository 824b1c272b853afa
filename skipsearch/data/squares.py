"""Resizing images to squares of one size."""

import torch
from torch.nn import functional as F

from skipsearch.data.images import Split
from skipsearch.data.memory import require_memory
from skipsearch.data.pictures import fit
from skipsearch.errors import DataError

PIECE_BYTES = 2**28  # of images that are resized together


def square(name: str, split: Split, image_size: int | None) -> Split:
    """Resize the images of a split; without a size they must already be square."""
    height, width = split.images.shape[2:]
    if image_size is None and height != width:
        raise DataError(
            f"{name}: images of {height}x{width} pixels are not square: give image_size"
        )
    if image_size is None or height == width == image_size:
        return split
    height, width, top, left = fit(height, width, image_size)
    # In pieces: as floating-point numbers, images need four times the memory.
    channels = split.images.shape[1]
    together = max(1, min(256, PIECE_BYTES // (4 * channels * height * width)))
    result = len(split) * channels * image_size**2
    require_memory(  # twice the images, for the division into splits
        2 * result + 4 * together * channels * height * width,
        f"{name}: {len(split):,} images of {channels} x {image_size} x {image_size} bytes",
        "give a smaller image_size",
    )
    squares = torch.empty(len(split), channels, image_size, image_size, dtype=torch.uint8)
    for start in range(0, len(split), together):
        piece = split.images[start : start + together].float()
        piece = F.interpolate(piece, size=(height, width), mode="bilinear", antialias=True)
        piece = piece[:, :, top : top + image_size, left : left + image_size]
        squares[start : start + together] = piece.round()  # averages of bytes need no clipping
    return Split(squares, split.labels)
