"""Devices of images."""

import math

import torch

from skipsearch.errors import DataError, reason

GPU_SHARE = 0.5  # of a GPU's free memory: the share of mapped images that are copied there


def free_gpu_memory(device: torch.device) -> float:
    """Return the free bytes of a GPU, after the release of what PyTorch caches there."""
    with torch.cuda.device(device):
        torch.cuda.empty_cache()
    return float(torch.cuda.mem_get_info(device)[0])


def room_for_images(device: torch.device) -> float:
    """Return the bytes that mapped images may take on a device; infinity if it is not a GPU."""
    return GPU_SHARE * free_gpu_memory(device) if device.type == "cuda" else math.inf


def find_device(device: str | torch.device) -> torch.device:
    """Return a device, with its index if it has one.

    Raises:
        DataError: If it does not exist here, or stores no data, such as ``meta``.
    """
    try:
        held = torch.zeros(1, device=device)
        held.item()  # fails on a device that has only shapes
        return held.device
    except (RuntimeError, AssertionError, TypeError) as error:  # AssertionError: without CUDA
        here = ", ".join(["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))])
        raise DataError(
            f"device {str(device)!r} is not available, expected one of {here} ({reason(error)})"
        ) from None
