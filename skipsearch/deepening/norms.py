"""Batch norms without statistics from training."""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn


class NewNorms:
    """The batch norms, or channels of them, without statistics from training."""

    def __init__(self) -> None:
        self.channels: dict[nn.BatchNorm2d, Tensor] = {}
        self.undone: set[nn.BatchNorm2d] = set()

    def add(self, norm: nn.BatchNorm2d, channels: Tensor) -> None:
        """Add the new channels of a norm."""
        self.channels[norm] = channels

    def undo(self, norm: nn.BatchNorm2d) -> None:
        """Make a new norm undo itself by its weight and bias (arXiv:1511.05641, Net2DeeperNet)."""
        self.add(norm, torch.arange(norm.num_features))
        self.undone.add(norm)
        _undo(norm)

    def measure(self, network: nn.Module, images: Tensor) -> None:
        """Take the statistics from one batch; each norm gets its own before it uses them."""
        hooks = [
            norm.register_forward_pre_hook(partial(self._measure, channels))
            for norm, channels in self.channels.items()
        ]
        try:
            network(images)
        finally:
            for hook in hooks:
                hook.remove()

    def _measure(self, channels: Tensor, module: nn.Module, inputs: tuple[Tensor]) -> None:
        norm = cast("nn.BatchNorm2d", module)
        x = inputs[0][:, channels]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean[channels] = x.mean((0, 2, 3))
        norm.running_var[channels] = x.var((0, 2, 3), correction=0)  # as in training mode
        if norm in self.undone:
            _undo(norm)


def _undo(norm: nn.BatchNorm2d) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.copy_(norm.running_mean)
