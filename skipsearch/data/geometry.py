"""The geometry of resizing: an image is resized to cover a size, and its centre is cropped."""

from typing import NamedTuple

import numpy as np

from skipsearch.data.source import Array
from skipsearch.plan import Size


class Window(NamedTuple):
    """The part of a resized image that is kept, in pixels."""

    top: int
    left: int
    bottom: int
    right: int


def fit(image: Size, size: Size) -> tuple[Size, Window]:
    """Return the size and the window to resize and crop an image to.

    For a square they are those of torchvision's Resize and CenterCrop, which are not used because
    importing torchvision takes as long as importing torch.

    Args:
        image: Height and width of the image.
        size: Required height and width.

    Returns:
        Height and width after resizing, which are the smallest with the aspect ratio of the image
        that cover the required size; and the window to keep.
    """
    if size.height * image.width >= size.width * image.height:
        resized = Size(size.height, size.height * image.width // image.height)
    else:
        resized = Size(size.width * image.height // image.width, size.width)
    top = round((resized.height - size.height) / 2)
    left = round((resized.width - size.width) / 2)
    return resized, Window(top, left, top + size.height, left + size.width)


def resize_masks(masks: Array, size: Size) -> Array:
    """Resize and crop masks exactly as `fit` does their images, by the nearest pixel.

    Args:
        masks: Masks (..., H, W).
        size: Required height and width.
    """
    image = Size(*masks.shape[-2:])
    if image == size:
        return masks
    resized, window = fit(image, size)
    # The centre of pixel i lies at i + 1/2 of the resized length; the integers are exact.
    rows = (2 * np.arange(window.top, window.bottom) + 1) * image.height // (2 * resized.height)
    columns = (2 * np.arange(window.left, window.right) + 1) * image.width // (2 * resized.width)
    return masks[..., rows[:, None], columns]
