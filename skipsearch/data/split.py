"""A split: images and labels on one device."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.device import find_device
from skipsearch.data.pixels import full_scale

IGNORED = 255  # value of mask pixels that losses and metrics ignore
TYPES = {1: (torch.int64,), 2: (torch.uint8, torch.float64), 3: (torch.uint8,)}  # by axes of labels


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on one device.

    Attributes:
        images: Images (N, C, H, W), of a type in ``FULL_SCALES``.
        labels: Labels (N,), int64, each in 0..classes - 1; for segmentation, masks (N, H, W),
            uint8, with a class number or ``IGNORED`` for each pixel; for several labels (N, K),
            uint8, each 0 or 1; for regression, targets (N, K), float64.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.ndim == 4, "expected (N, C, H, W)"
        assert full_scale(self.images), "expected a known type of pixels"
        count, _, height, width = self.images.shape
        assert self.labels.dtype in TYPES[self.labels.ndim], "expected these types"
        assert len(self.labels) == count, "expected labels for each image"
        if self.labels.ndim == 3:
            assert self.labels.shape[1:] == (height, width), "expected one label for each pixel"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as arrays: PyTorch 2.14 writes uint16 tensors that it cannot read again."""
        return _split_of, (self.images.cpu().numpy(), self.labels.cpu().numpy())

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "Split":
        """Return the same split on another device.

        Raises:
            DataError: If the device does not exist here.
        """
        known = find_device(device)
        return Split(self.images.to(known), self.labels.to(known))


def _split_of(images: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> Split:
    """Return a split of copies of arrays, since arrays from Ray are read-only."""
    return Split(torch.from_numpy(images.copy()), torch.from_numpy(labels.copy()))
