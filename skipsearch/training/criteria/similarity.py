"""Similarity of images in units of 0..1: PSNR and SSIM."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

LEAST_ERROR = 1e-10  # mean squared error of a PSNR of 100 dB; equal images would give infinity

# Wang et al. 2004 (doi:10.1109/TIP.2003.819861), sections III.B and III.C.
WINDOW = 11  # pixels
SIGMA = 1.5  # pixels
LUMINANCE, CONTRAST = 0.01**2, 0.03**2


def psnr(found: Tensor, truth: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image: 10 log10(1 / MSE), in dB.

    Args:
        found: Images (..., C, H, W) in 0..1.
        truth: Images of the same shape.

    Returns:
        Decibels (...), at most 100.
    """
    error = (found - truth).square().mean((-3, -2, -1))
    decibels: Tensor = -10 * error.clamp(min=LEAST_ERROR).log10()
    return decibels


def ssim(found: Tensor, truth: Tensor) -> Tensor:
    """Return the structural similarity of each image: the mean over channels and windows.

    A Gaussian window, 11 pixels wide with a standard deviation of 1.5, is centred on each pixel;
    images are mirrored at their borders. Images with a side below 6 pixels have narrower windows.

    Args:
        found: Images (..., C, H, W) in 0..1.
        truth: Images of the same shape.

    Returns:
        Similarities (...), from -1 to 1.
    """
    *first, channels, height, width = found.shape
    reach = min(WINDOW // 2, height - 1, width - 1)
    places = torch.arange(-reach, reach + 1, device=found.device)
    window = torch.exp(-(places / SIGMA).square() / 2)
    window = window / window.sum()
    maps = torch.stack([found, truth, found * found, truth * truth, found * truth])
    maps = F.pad(maps.reshape(-1, 1, height, width), (reach,) * 4, mode="reflect")
    maps = F.conv2d(F.conv2d(maps, window.view(1, 1, -1, 1)), window.view(1, 1, 1, -1))
    x, y, xx, yy, xy = maps.view(5, *first, channels, *maps.shape[2:])
    variances, covariance = xx - x * x + yy - y * y, xy - x * y  # of each window
    similarity: Tensor = (2 * x * y + LUMINANCE) * (2 * covariance + CONTRAST)
    similarity = similarity / ((x * x + y * y + LUMINANCE) * (variances + CONTRAST))
    return similarity.mean((-3, -2, -1))
