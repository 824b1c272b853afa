"""Augmentation and normalisation of a batch of images between the data set and the network.

This is batched tensor code on the images' device, without a loop over images and without waiting
for the device. Random numbers are drawn separately: `draw` runs on the CPU, so that they are the
same for any training device, and `augment` on the device of the images.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data.pixels import full_scale


def draw(
    count: int, height: int, width: int, generator: torch.Generator, *, crop: int = 0
) -> Tensor:
    """Draw the random numbers of `augment` for a number of images.

    All numbers are drawn, even unused ones, so that the flips of a seed do not depend on whether
    images are also cropped.

    Args:
        count: Number of images.
        height: Height of an image in pixels.
        width: Width of an image in pixels.
        generator: Generator on the CPU.
        crop: Padding on each side in pixels.

    Returns:
        Draws (5, count), int64: row and column of the crop's window in 0..2 crop, flip (0 or 1),
        row and column of the cutout's centre.
    """
    below = (2 * crop + 1, 2 * crop + 1, 2, height, width)
    return torch.stack([torch.randint(limit, (count,), generator=generator) for limit in below])


def augment(
    images: Tensor,
    draws: Tensor,
    fill: int = 0,
    *,
    crop: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> Tensor:
    """Crop, flip and cut out each image, independently of the others.

    Pixels are only moved and never interpolated. Masks (N, 1, H, W) therefore stay aligned with
    their images if they get the same draws, with `fill` as the value of ignored pixels. In a cutout
    the network cannot see what it should predict, so these pixels are ignored by the loss as well
    (as in French et al. 2020, arXiv:1906.01916).

    Args:
        images: Images (N, C, H, W), uint8 or floating point, on any device.
        draws: Draws (5, N) from `draw` with the same crop, on the device of the images.
        fill: Value of pixels from outside the image, or in the cutout. 0 is black in raw images,
            and the mean in normalised ones (as in the two papers).
        crop: Padding on each side in pixels, from which a window of the original size is cropped
            (He et al. 2015, arXiv:1512.03385, section 4.2, with 4).
        flip: Whether to mirror left and right with probability 1/2.
        cutout: Side in pixels of a square whose centre is uniform over the image and which is
            clipped at the border (DeVries and Taylor 2017, arXiv:1708.04552).

    Returns:
        Images (N, C, H, W) of the same dtype; `images` itself if nothing is requested.
    """
    assert images.ndim == 4, "expected (N, C, H, W)"
    assert draws.shape == (5, len(images)), "expected one draw for each image"
    assert crop >= 0, "crop is a number of pixels"
    assert cutout >= 0, "cutout is a number of pixels"
    count, _, height, width = images.shape
    device = images.device
    rows, columns, coins, centre_rows, centre_columns = draws

    if crop:
        # Every window of every padded image, as a view: (N, C, 2 crop + 1, 2 crop + 1, H, W).
        padded = F.pad(images, (crop, crop, crop, crop), value=fill)
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=device), :, rows, columns]

    if flip:
        images = torch.where(coins.bool()[:, None, None, None], images.flip(3), images)

    if cutout:
        top = (centre_rows - cutout // 2)[:, None]
        left = (centre_columns - cutout // 2)[:, None]
        y = torch.arange(height, device=device)
        x = torch.arange(width, device=device)
        covered_rows = (top <= y) & (y < top + cutout)  # (N, H)
        covered_columns = (left <= x) & (x < left + cutout)  # (N, W)
        covered = covered_rows[:, None, :, None] & covered_columns[:, None, None, :]
        images = images.masked_fill(covered, fill)

    return images


def normalise(images: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert raw images to the network's input, (image / scale - mean) / std in each channel.

    Args:
        images: Images (N, C, H, W), of a type in ``FULL_SCALES``, which gives the scale.
        mean: Mean (C,) in units of the scale, of at least the precision of `dtype`, on the same
            device.
        std: Standard deviation (C,), of the same units, precision and device.
        dtype: Floating-point type of the result.

    Returns:
        Images (N, C, H, W) of `dtype`, on the same device.
    """
    assert mean.shape == std.shape == images.shape[1:2], "expected one mean and std a channel"
    # Values are rounded to half precision only at the end.
    exact = torch.promote_types(dtype, torch.float32)
    return ((images.to(exact) / full_scale(images) - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)).to(
        dtype
    )
