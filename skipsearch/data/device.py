"""Devices of images."""

import torch

from skipsearch.errors import DataError, reason


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
