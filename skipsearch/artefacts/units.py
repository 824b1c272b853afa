"""Networks of regression whose outputs have the units of the targets."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from skipsearch.models import Network


def in_units(network: Network, mean: Sequence[float], std: Sequence[float]) -> Network:
    """Return a copy of a network whose last layer converts standardised outputs to targets.

    Args:
        network: Network with standardised outputs.
        mean: Mean of each target.
        std: Standard deviation of each target.
    """
    network = copy.deepcopy(network)
    last = network.classifier
    offset, scale = (
        torch.tensor(v, dtype=torch.float64, device=last.bias.device) for v in (mean, std)
    )
    with torch.no_grad():
        last.weight.copy_(last.weight.double() * scale[:, None])
        last.bias.copy_(last.bias.double() * scale + offset)
    return network


class Standard:
    """Outputs in standard deviations of the targets, so that their differences can be judged.

    Args:
        mean: Mean of each target; empty for networks whose outputs are judged as they are.
        std: Standard deviation of each target.
    """

    def __init__(self, mean: Sequence[float] = (), std: Sequence[float] = ()) -> None:
        self._mean, self._std = (torch.tensor(v, dtype=torch.float64) for v in (mean, std))

    def largest(self, outputs: Tensor) -> float:
        """Return the largest absolute value of outputs (N, targets)."""
        if len(self._mean):
            outputs = (outputs - self._mean) / self._std
        return outputs.abs().max().item()

    def difference(self, found: Tensor, expected: Tensor) -> float:
        """Return the largest absolute difference, beyond the rounding of targets to float32."""
        off = (found - expected).abs()
        if len(self._mean):
            off = (off - ROUNDING * expected.abs()).clamp(min=0) / self._std
        return off.max().item()


ROUNDING = 4 * torch.finfo(torch.float32).eps  # of a target far from 0, relative to it
