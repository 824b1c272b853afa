"""Resizing arrays of images, and of masks, to one size."""

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data.geometry import fit, resize_masks
from skipsearch.data.mapped import chunks
from skipsearch.data.memory import require_memory
from skipsearch.data.split import Split
from skipsearch.plan import Size

PIECE_BYTES = 2**28  # of images that are resized together


def resize(name: str, split: Split, size: Size | None) -> Split:
    """Resize the images of a split, and their masks.

    Args:
        name: Name of the data, for messages.
        split: Images, and labels or masks.
        size: Required height and width; None to keep those of the images.
    """
    image = Size(*split.images.shape[2:])
    if size is None or image == size:
        return split
    resized, _ = fit(image, size)
    # In pieces, since images as floating-point numbers need four times the memory.
    channels = split.images.shape[1]
    together = max(1, min(256, PIECE_BYTES // (4 * channels * resized.pixels)))
    result = len(split) * channels * size.pixels * split.images.itemsize
    require_memory(  # twice the images, for the division into splits
        2 * result + 4 * together * channels * resized.pixels,
        f"{name}: {len(split):,} images of {channels} x {size} pixels",
        "give a smaller image_size",
    )
    images = torch.empty(len(split), channels, *size, dtype=split.images.dtype)
    for start in range(0, len(split), together):
        images[start : start + together] = resize_images(
            split.images[start : start + together], size
        )
    if split.labels.ndim < 3:
        return Split(images, split.labels)
    masks = [torch.from_numpy(resize_masks(chunk.numpy(), size)) for chunk in chunks(split.labels)]
    return Split(images, torch.cat(masks))


def resize_images(images: Tensor, size: Size) -> Tensor:
    """Resize images (N, C, H, W) of any type (bilinear, antialiased), and crop their centre.

    Args:
        images: Images.
        size: Required height and width.
    """
    image = Size(*images.shape[2:])
    if image == size:
        return images
    resized, window = fit(image, size)
    values = F.interpolate(images.float(), size=tuple(resized), mode="bilinear", antialias=True)
    values = values[:, :, window.top : window.bottom, window.left : window.right]
    # Averages stay in the range of the pixels, so no clipping is needed.
    return (values if images.is_floating_point() else values.round()).to(images.dtype)
