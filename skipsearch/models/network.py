"""Design to plain ``nn.Module``: the only function from genotype to phenotype."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from itertools import islice

import torch
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.models.links import make_join
from skipsearch.models.merges import make_block
from skipsearch.models.ops import DefaultConv2d, enlarging, sequence
from skipsearch.models.sizes import cut
from skipsearch.plan import (
    BEFORE_POOL,
    IMAGE,
    End,
    Head,
    MapHead,
    OutputLink,
    Stage,
    check_count,
    identifier,
)
from skipsearch.plan import Network as Plan


class Network(nn.Module):
    """Stem, stages, head, global average pooling, operations after it, and one linear layer."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__()
        self.stem = sequence(plan.stem)
        self.stages = nn.Sequential(
            OrderedDict((f"stage{i}", _stage(stage)) for i, stage in enumerate(plan.stages, 1))
        )
        self.nodes = nn.ModuleDict({_name(node.end): _stage(node.stage) for node in plan.nodes})
        self.joins = nn.ModuleDict(
            {_name(end): make_join(stage.join) for end, stage in plan.named.items() if stage.join}
        )
        self.head = sequence(plan.head.steps)
        if isinstance(plan.head, Head):
            self.pooled = sequence(plan.head.pooled)
            self.classifier = nn.Linear(plan.head.features, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, classes)."""
        x = self.stem(x)
        x = self.stages(x)
        x = self.head(x)
        x = x.mean((2, 3), keepdim=True)
        x = self.pooled(x)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class LinkedNetwork(Network):
    """A network with long skips, or with stages that enlarge."""

    def __init__(self, plan: Plan, classes: int) -> None:
        super().__init__(plan, classes)
        self.cuts = {_name(end): s.cut for end, s in plan.named.items() if s.cut is not None}
        self.reads = {node.end: node.reads for node in plan.nodes}
        self.down = sum(not stage.enlarges for stage in plan.stages)

    def features(self, x: Tensor) -> tuple[Tensor, dict[End, Tensor]]:
        """Return the output of the last stage, and the signal at every end of a skip.

        Args:
            x: Images (N, in_channels, H, W).
        """
        ends: dict[End, Tensor] = {IMAGE: x}
        for operation in self.stem:
            ends[BEFORE_POOL] = x
            x = operation(x)
        ends[0] = x
        stages = enumerate(self.stages.named_children(), 1)
        for number, (name, stage) in islice(stages, self.down):
            x = stage(x)
            if name in self.joins:
                x = self.joins[name](x, ends)
            ends[number] = x
        for end, (name, node) in zip(self.reads, self.nodes.items(), strict=True):
            ends[end] = self.enlarged(name, node, ends[self.reads[end]], ends)
        for number, (name, stage) in stages:
            x = ends[number] = self.enlarged(name, stage, x, ends)
        return x, ends

    def enlarged(
        self, name: str, stage: nn.Module, x: Tensor, ends: Mapping[End, Tensor]
    ) -> Tensor:
        """Apply an enlarging stage or node to x (N, C, H, W), given the ends so far."""
        enlarge, *blocks = stage.children()
        x = cut(enlarge(x), ends[self.cuts[name]].shape[2:])
        if name in self.joins:
            x = self.joins[name](x, ends)
        for block in blocks:
            x = block(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to logits (N, classes)."""
        x, _ = self.features(x)
        x = self.head(x)
        x = x.mean((2, 3), keepdim=True)
        x = self.pooled(x)
        logits: Tensor = self.classifier(x.flatten(1))
        return logits


class MapNetwork(LinkedNetwork):
    """A network that outputs values for each pixel."""

    def __init__(self, plan: Plan, outputs: int) -> None:
        super().__init__(plan, outputs)
        head = plan.head
        assert isinstance(head, MapHead)
        self.map = DefaultConv2d(head.features, outputs, head.kernel, padding=head.kernel // 2)
        self.enlarge = enlarging(head.enlarge)
        self.output_sources = tuple(link.source for link in head.links)
        self.output_links = nn.ModuleList(_output_link(link, outputs) for link in head.links)

    def forward(self, x: Tensor) -> Tensor:
        """Map images (N, in_channels, H, W) to values (N, outputs, H, W)."""
        x, *links = self.terms(*self.features(x))
        for link in links:
            x = x + link
        return x

    def terms(self, x: Tensor, ends: Mapping[End, Tensor]) -> list[Tensor]:
        """Return the values of the map, and the term of each link, all (N, outputs, H, W).

        Args:
            x: Output of the last stage.
            ends: Signal at each end of a skip.
        """
        size = ends[IMAGE].shape[2:]
        x = self.head(x)
        x = self.map(x)
        links = zip(self.output_sources, self.output_links, strict=True)
        carried = [cut(link(ends[source]), size) for source, link in links]
        return [cut(self.enlarge(x), size), *carried]


def _output_link(link: OutputLink, outputs: int) -> nn.Module:
    if link.is_identity(outputs):
        return nn.Identity()
    return nn.Sequential(
        OrderedDict(map=DefaultConv2d(link.inputs, outputs, 1), enlarge=enlarging(link.enlarge))
    )


def build(design: Design, in_channels: int = 3, classes: int = 10, seed: int = 0) -> Network:
    """Build the network of a design, with initial weights that depend only on the seed.

    Convolutions start as in He et al. 2015 (arXiv:1502.01852, by fan-out, and transposed ones by
    fan-in), norms as the identity, and the linear layer or the map with PyTorch's defaults. The
    global random state is not changed.

    Args:
        design: Design to build.
        in_channels: Number of image channels.
        classes: Number of outputs.
        seed: Seed of the initial weights.

    Returns:
        A module from images (N, in_channels, H, W) to logits (N, classes), for any H and W; if its
        head is a map, to values (N, classes, H, W).

    Raises:
        DesignError: If ``in_channels`` or ``classes`` is not positive.
    """
    for name, value in (("in_channels", in_channels), ("classes", classes)):
        check_count(name, value, DesignError)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the GPUs as well
        plan = design.plan(in_channels)
        network: type[Network] = Network
        if isinstance(plan.head, MapHead):
            network = MapNetwork
        elif design.links or design.ups:
            network = LinkedNetwork
        model = network(plan, classes)
        if next(model.parameters()).is_meta:  # PyTorch would import its compiler to fill nothing
            return model
        for module in model.modules():
            if isinstance(module, nn.Conv2d) and not isinstance(module, DefaultConv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.ConvTranspose2d):
                # By fan-in: each output adds up a quarter of the products.
                nn.init.normal_(module.weight, std=(8 / module.weight[:, 0].numel()) ** 0.5)
    return model


def _name(end: End) -> str:
    """Return the name of the modules of a stage or node."""
    return f"stage{end}" if isinstance(end, int) else f"node_{identifier(end)}"


def _stage(stage: Stage) -> nn.Sequential:
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if stage.transition:
        modules["transition"] = sequence(stage.transition)
    for number, (block, drop_path) in enumerate(
        zip(stage.blocks, stage.drop_paths, strict=True), 1
    ):
        modules[f"block{number}"] = make_block(block, drop_path)
    return nn.Sequential(modules)
