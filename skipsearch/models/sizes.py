"""Height and width of signals."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def cut(x: Tensor, size: Sequence[int]) -> Tensor:
    """(N, C, H, W) -> (N, C, *size): what was halved upwards and doubled again is cut back."""
    height, width = size
    return x[:, :, :height, :width]
