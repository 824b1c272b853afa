"""Addition with learned weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from skipsearch.models.links.add import AddLinks
from skipsearch.models.links.linking import Linking, linked
from skipsearch.models.packed import as_it_is, weigh
from skipsearch.plan import End, Join
from skipsearch.ranges import ANY


class WeightedSum(nn.Module):
    """A sum with one learned weight per term, which starts at 1."""

    def __init__(self, terms: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(terms))

    def forward(self, terms: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of signals (N, C, H, W)."""
        out = self.weights[0] * terms[0]
        for weight, term in zip(self.weights[1:], terms[1:], strict=True):
            out = out + weight * term
        return out


class PackedWeightedSum(nn.Module):
    """A sum with separate weights for each member."""

    def __init__(self, module: WeightedSum, members: int) -> None:
        super().__init__()
        self.members = members
        self.weights = nn.Parameter(torch.empty(members * len(module.weights)))

    def forward(self, terms: Sequence[Tensor]) -> Tensor:
        """Return the weighted sum of signals (N, K * C, H, W)."""
        weights = self.weights.view(self.members, -1).unbind(1)
        out = weigh(weights[0], terms[0])
        for weight, term in zip(weights[1:], terms[1:], strict=True):
            out = out + weigh(weight, term)
        return out


class WeightedLinks(AddLinks):
    """after(a * x + b * link(earlier signal) + ...) with learned scalars a, b, ..."""

    def __init__(self, join: Join) -> None:
        super().__init__(join)
        self.sum = WeightedSum(len(join.links) + 1)

    def forward(self, x: Tensor, ends: Mapping[End, Tensor]) -> Tensor:
        """Join earlier signals to x (N, inputs, H, W), in the shape of x."""
        out: Tensor = self.after(self.sum([x, *linked(self, x, ends)]))
        return out

    def terms(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the signal x (N, C, H, W) and the part of each link, times their weights."""
        pairs = zip(self.sum.weights, [x, *linked(self, x, ends)], strict=True)
        return [weight * term for weight, term in pairs]

    def weights(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the learned weight of each link."""
        return list(self.sum.weights[1:])


LINKING = Linking(
    build=WeightedLinks,
    packed={WeightedSum: PackedWeightedSum, WeightedLinks: as_it_is},
    behind=lambda signal, link: ANY,  # weights of either sign
)
