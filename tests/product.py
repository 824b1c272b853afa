"""Small networks of every layout of the classics, under any shortcut and merge."""

import torch
from torch import Tensor

from skipsearch.classics import (
    BN_AFTER_ADDITION,
    RELU_BEFORE_ADDITION,
    RELU_ONLY_PREACTIVATION,
)
from skipsearch.classics.classifiers import CLASSIFIERS
from skipsearch.design import Design
from skipsearch.models import Network
from skipsearch.models.ops import SqueezeExcitation

# Each layout with the bottleneck ratio of the first classic that has it; beside them the orders of
# He et al. 2016, arXiv:1603.05027, Fig. 4, that no classic has.
OF_CLASSICS = {c.design.layout: c.design.bottleneck_ratio for c in reversed(CLASSIFIERS.values())}
ORDERS = (BN_AFTER_ADDITION, RELU_BEFORE_ADDITION, RELU_ONLY_PREACTIVATION)
RATIOS = {**dict.fromkeys(ORDERS, 1.0), **OF_CLASSICS}
LAYOUTS = tuple(RATIOS)


def small(layout: str, shortcut: str, merge: str, **changes: object) -> Design:
    # Widths of 8 and more: a bottleneck of one channel before a norm would leave nothing to learn.
    values = {"depths": (2, 2), "widths": (8, 16), "growth": 2, **changes}
    return Design(
        layout=layout,
        shortcut=shortcut,
        merge=merge,
        bottleneck_ratio=RATIOS[layout],
        **values,
    )


def random_images(count: int, size: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 2, size, size, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def stir(model: Network) -> Network:
    """Move what starts at 0 or 1 away from there, so that no branch or gate is silent."""
    generator = torch.Generator().manual_seed(7)
    for parameter in model.parameters():
        if parameter.ndim < 2:
            parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    for module in model.modules():
        if isinstance(module, SqueezeExcitation):  # its one hidden unit is alive
            module.squeeze.weight.abs_()
    return model
