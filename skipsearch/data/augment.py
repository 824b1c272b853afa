"""What is done to a batch of images between the data set and the network.

Batched tensor code on the images' own device, without a loop over images and without waiting for
the device. Random numbers are drawn apart from their use: `draw` on the CPU, so that they are the
same whatever device trains, and `augment` where the images are.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def draw(
    count: int, height: int, width: int, generator: torch.Generator, *, crop: int = 0
) -> Tensor:
    """Draw what `augment` needs for so many images.

    All is drawn, whether it is asked for or not, so that the flips of a seed do not depend on
    whether images are cropped as well.

    Args:
        count: images.
        height: of an image, in pixels.
        width: of an image, in pixels.
        generator: a generator on the CPU.
        crop: pixels of padding on each side.

    Returns:
        (5, count) int64: row and column of the crop's window in 0..2 crop, the coin of the flip,
        row and column of the cutout's centre.
    """
    below = (2 * crop + 1, 2 * crop + 1, 2, height, width)
    return torch.stack([torch.randint(limit, (count,), generator=generator) for limit in below])


def augment(
    images: Tensor,
    draws: Tensor,
    *,
    crop: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> Tensor:
    """Shift, mirror and partly cover each image, independently of the others.

    Pixels that come from outside the image, or are cut out, are 0: black on raw images, and the
    mean on normalised ones (which is how the two papers have it).

    Args:
        images: (N, C, H, W), uint8 or floating point, on any device.
        draws: (5, N) from `draw` with the same crop, on the device of the images.
        crop: pixels of padding on each side, out of which a window of the old size is cut
            (He et al. 2015, arXiv:1512.03385, section 4.2, with 4).
        flip: mirror left and right with probability 1/2.
        cutout: side in pixels of a square whose centre is uniform over the image and which is
            clipped at the border (DeVries and Taylor 2017, arXiv:1708.04552).

    Returns:
        (N, C, H, W) of the same dtype; `images` itself where nothing is asked.
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
        padded = F.pad(images, (crop, crop, crop, crop))
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
        images = images.masked_fill(covered, 0)

    return images


def normalise(images: Tensor, mean: Tensor, std: Tensor, dtype: torch.dtype) -> Tensor:
    """Turn raw images into the network's input, (image / 255 - mean) / std in each channel.

    Args:
        images: (N, C, H, W) uint8.
        mean: (C,), in units of 0..1, of at least the precision of `dtype`, on the same device.
        std: (C,), likewise.
        dtype: floating-point type of the result.

    Returns:
        (N, C, H, W) of `dtype`, on the device of the images.
    """
    assert images.dtype == torch.uint8, "expected raw images"
    assert mean.shape == std.shape == images.shape[1:2], "expected one mean and std a channel"
    # A half-precision type is only rounded to at the end.
    exact = torch.promote_types(dtype, torch.float32)
    return ((images.to(exact) / 255 - mean.view(-1, 1, 1)) / std.view(-1, 1, 1)).to(dtype)
