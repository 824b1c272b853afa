"""Height and width of signals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cut(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size): what was halved upwards and doubled again is cut back."""
    height, width = size
    if torch.compiler.is_exporting():
        # torch.export fixes for each slice of a dynamic size whether it cuts anything off.
        x = x.index_select(2, torch.arange(height, device=x.device))
        return x.index_select(3, torch.arange(width, device=x.device))
    return x[:, :, :height, :width]
