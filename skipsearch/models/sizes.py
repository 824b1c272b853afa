"""Height and width of signals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cut(x: Tensor, size: Sequence[int]) -> Tensor:
    """Crop (N, C, H, W) to (N, C, *size).

    Halving rounds up, so a signal that was halved and doubled again may be too large.
    """
    height, width = size
    if torch.compiler.is_exporting():
        # For a slice of a dynamic size, torch.export fixes whether it cuts anything off.
        x = x.index_select(2, torch.arange(height, device=x.device))
        return x.index_select(3, torch.arange(width, device=x.device))
    return x[:, :, :height, :width]
