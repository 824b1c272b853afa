"""Design -> plain ``nn.Module``: the only function from genotype to phenotype."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.models.links import make_join
from skipsearch.models.merges import make_block
from skipsearch.models.ops import sequence
from skipsearch.plan import Network as Plan
from skipsearch.plan import Stage


class Network(nn.Module):
    """Stem, stages, head, global average pooling, operations after it, and one linear layer."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.stem = sequence(plan.stem)
        self.stages = nn.Sequential(
            OrderedDict((f"stage{i}", _stage(stage)) for i, stage in enumerate(plan.stages, 1))
        )
        self.joins = nn.ModuleDict(
            {
                f"stage{i}": make_join(stage.join)
                for i, stage in enumerate(plan.stages, 1)
                if stage.join
            }
        )
        self.head = sequence(plan.head.steps)
        self.pooled = sequence(plan.head.pooled)
        self.classifier = nn.Linear(plan.head.features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, classes)."""
        x = self.stem(x)
        x = self.stages(x)
        x = self.head(x)
        x = x.mean((2, 3), keepdim=True)
        x = self.pooled(x)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class LinkedNetwork(Network):
    """A network with long skips between its stages."""

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, in_channels, H, W) -> logits (N, classes)."""
        x = self.stem(x)
        outputs = [x]  # of the stem and of each stage
        for name, stage in self.stages.named_children():
            x = stage(x)
            if name in self.joins:
                x = self.joins[name](x, outputs)
            outputs.append(x)
        x = self.head(x)
        x = x.mean((2, 3), keepdim=True)
        x = self.pooled(x)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


def build(design: Design, in_channels: int = 3, classes: int = 10, seed: int = 0) -> Network:
    """Build the network of a design, with initial weights that depend only on the seed.

    Convolutions start as in He et al. 2015 (arXiv:1502.01852, fan-out), norms as the identity,
    and the linear layer with PyTorch's defaults. The global random state is not changed.

    Args:
        design: Design to build.
        in_channels: Number of image channels.
        classes: Number of outputs.
        seed: Seed of the initial weights.

    Returns:
        A module from images (N, in_channels, H, W) to logits (N, classes), for any H and W.

    Raises:
        DesignError: If ``in_channels`` or ``classes`` is not positive.
    """
    for name, value in (("in_channels", in_channels), ("classes", classes)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise DesignError(f"{name}: {value!r} is not a positive whole number")
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        network = LinkedNetwork if design.links else Network
        model = network(design.plan(in_channels), classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model


def _stage(stage: Stage) -> nn.Sequential:
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if stage.transition:
        modules["transition"] = sequence(stage.transition)
    for number, (block, drop_path) in enumerate(
        zip(stage.blocks, stage.drop_paths, strict=True), 1
    ):
        modules[f"block{number}"] = make_block(block, drop_path)
    return nn.Sequential(modules)
