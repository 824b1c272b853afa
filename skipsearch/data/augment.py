"""What is done to a batch of images between the data set and the network.

Batched tensor code on the images' own device, without a loop over images and without waiting for
the device; every random draw comes from the generator that is handed in.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(
    images: Tensor,
    generator: torch.Generator,
    *,
    crop: int = 0,
    flip: bool = False,
    cutout: int = 0,
) -> Tensor:
    """Shift, mirror and partly cover each image, independently of the others.

    The draws are, in this order and only for what is asked: row and column offsets of the crop,
    coins of the flip, rows and columns of the cutout's centres. Each is one draw of N numbers, so
    the result depends on nothing but the generator's state.

    Pixels that come from outside the image, or are cut out, are 0: black on raw images, and the
    mean on normalised ones (which is how the two papers have it).

    Args:
        images: (N, C, H, W), uint8 or floating point, on any device.
        generator: a generator on the device of the images.
        crop: pixels of padding on each side, out of which a window of the old size is cut
            (He et al. 2015, arXiv:1512.03385, section 4.2, with 4).
        flip: mirror left and right with probability 1/2.
        cutout: side in pixels of a square whose centre is uniform over the image and which is
            clipped at the border (DeVries and Taylor 2017, arXiv:1708.04552).

    Returns:
        (N, C, H, W) of the same dtype; `images` itself where nothing is asked.
    """
    assert images.ndim == 4, "expected (N, C, H, W)"
    assert crop >= 0, "crop is a number of pixels"
    assert cutout >= 0, "cutout is a number of pixels"
    count, _, height, width = images.shape
    device = images.device

    if crop:
        rows = torch.randint(2 * crop + 1, (count,), generator=generator, device=device)
        columns = torch.randint(2 * crop + 1, (count,), generator=generator, device=device)
        # Every window of every padded image, as a view: (N, C, 2 crop + 1, 2 crop + 1, H, W).
        padded = F.pad(images, (crop, crop, crop, crop))
        windows = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = windows[torch.arange(count, device=device), :, rows, columns]

    if flip:
        mirrored = torch.rand(count, generator=generator, device=device) < 0.5
        images = torch.where(mirrored[:, None, None, None], images.flip(3), images)

    if cutout:
        top = torch.randint(height, (count, 1), generator=generator, device=device) - cutout // 2
        left = torch.randint(width, (count, 1), generator=generator, device=device) - cutout // 2
        y = torch.arange(height, device=device)
        x = torch.arange(width, device=device)
        covered_rows = (top <= y) & (y < top + cutout)  # (N, H)
        covered_columns = (left <= x) & (x < left + cutout)  # (N, W)
        covered = covered_rows[:, None, :, None] & covered_columns[:, None, None, :]
        images = images.masked_fill(covered, 0)

    return images


def normalise(
    images: Tensor, mean: Sequence[float], std: Sequence[float], dtype: torch.dtype
) -> Tensor:
    """Turn raw images into the network's input, (image / 255 - mean) / std in each channel.

    Args:
        images: (N, C, H, W) uint8.
        mean: C means in units of 0..1, as in `Data.mean`.
        std: C deviations in units of 0..1, as in `Data.std`.
        dtype: floating-point type of the result.

    Returns:
        (N, C, H, W) of `dtype`, on the device of the images.
    """
    assert images.dtype == torch.uint8, "expected raw images"
    assert images.shape[1] == len(mean) == len(std), "expected one mean and std for each channel"
    # A half-precision type is only rounded to at the end.
    exact = torch.promote_types(dtype, torch.float32)
    # non_blocking: a plain copy of these few numbers would wait for all work of the device.
    shift, scale = (
        torch.tensor(values, dtype=exact).view(-1, 1, 1).to(images.device, non_blocking=True)
        for values in (mean, std)
    )
    return ((images.to(exact) / 255 - shift) / scale).to(dtype)
