"""Resizing arrays of images, and of masks, to one size."""

import torch
from torch.nn import functional as F

from skipsearch.data.geometry import fit, resize_masks
from skipsearch.data.images import Split
from skipsearch.data.memory import require_memory
from skipsearch.errors import DataError
from skipsearch.plan import Size

PIECE_BYTES = 2**28  # of images that are resized together


def resize(name: str, split: Split, size: Size | None, *, per_pixel: bool) -> Split:
    """Resize the images of a split, and their masks.

    Args:
        name: Name of the data, for messages.
        split: Images, and labels or masks.
        size: Required height and width; None for those of the images.
        per_pixel: Whether the task is per pixel; otherwise images of no given size must be square.
    """
    image = Size(*split.images.shape[2:])
    if size is None and not per_pixel and image.height != image.width:
        raise DataError(
            f"{name}: images of {image.height}x{image.width} pixels are not square: give image_size"
        )
    if size is None or image == size:
        return split
    resized, window = fit(image, size)
    # In pieces: as floating-point numbers, images need four times the memory.
    channels = split.images.shape[1]
    together = max(1, min(256, PIECE_BYTES // (4 * channels * resized.pixels)))
    result = len(split) * channels * size.pixels
    require_memory(  # twice the images, for the division into splits
        2 * result + 4 * together * channels * resized.pixels,
        f"{name}: {len(split):,} images of {channels} x {size} bytes",
        "give a smaller image_size",
    )
    images = torch.empty(len(split), channels, *size, dtype=torch.uint8)
    for start in range(0, len(split), together):
        piece = split.images[start : start + together].float()
        piece = F.interpolate(piece, size=tuple(resized), mode="bilinear", antialias=True)
        piece = piece[:, :, window.top : window.bottom, window.left : window.right]
        images[start : start + together] = piece.round()  # averages of bytes need no clipping
    labels = split.labels
    if labels.ndim == 3:
        labels = torch.from_numpy(resize_masks(labels.numpy(), size))
    return Split(images, labels)
