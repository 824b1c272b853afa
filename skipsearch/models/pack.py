"""Networks of the same structure computed as one, for whom an operation costs more than its sums.

The time that a small network trains is that of starting its operations. K of them (the seeds of
one design) in one network with grouped convolutions start as many operations as one.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skipsearch.errors import DesignError
from skipsearch.models import block, link, ops, packed
from skipsearch.models.network import LinkedNetwork, Network


def pack(models: Sequence[Network]) -> Network:
    """Return one network that computes all of some networks of the same structure.

    It takes images (N, K * in_channels, H, W), those of the first of K members in the first
    ``in_channels``, to logits (N, K, classes). The names of its parameters and buffers are those of
    a member, and each is the members' side by side along the first axis (K numbers where a member
    has one), so that an optimizer that treats each number alike, as SGD does, trains the members
    as it would train each alone. It is fastest in channels_last.

    Random operations draw the numbers of all members from PyTorch's global generator, until
    ``set_generators`` gives each member its own.

    Args:
        models: Networks of ``build``, at least one. They are left as they are.

    Returns:
        A network with copies of their weights, on the device and in the mode of the first.

    Raises:
        DesignError: If the networks differ in more than their weights.
    """
    if not models:
        raise DesignError("a pack needs at least one network")
    for number, model in enumerate(models[1:], 2):
        difference = _difference(models[0], model)
        if difference:
            raise DesignError(f"network {number} of the pack differs from the first: {difference}")
    states = [model.state_dict() for model in models]
    state = {name: _join(name, [state[name] for state in states]) for name in states[0]}
    with torch.device("meta"):  # Shapes alone: no memory, no random numbers.
        whole = _packed(copy.deepcopy(models[0]), len(models))
    whole.load_state_dict(state, assign=True)
    assert isinstance(whole, Network)
    return whole.train(models[0].training)


@torch.no_grad()
def unpack(pack: nn.Module, models: Sequence[nn.Module]) -> None:
    """Copy each member's parameters and buffers, bit by bit, from a pack into a network.

    Args:
        pack: What ``pack`` returned, trained or not.
        models: The networks, as many and of the structure that it was made of.
    """
    for name, joined in pack.state_dict().items():
        for model, part in zip(models, _split(name, joined, len(models)), strict=True):
            tensor = model.state_dict()[name]
            tensor.copy_(part.view_as(tensor))


def set_generators(pack: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Let each member of a pack draw from its own generator, whoever its companions are.

    On the CPU, a member then drops what it would drop alone, drawing from the global generator in
    the same state.

    Args:
        pack: What ``pack`` returned.
        generators: One a member, on the device of the images.
    """
    for module in pack.modules():
        if isinstance(module, packed.Random):
            module.generators = generators


def _join(name: str, tensors: list[Tensor]) -> Tensor:
    if name.endswith("num_batches_tracked"):  # of all members
        return tensors[0].clone()
    return torch.cat([tensor.reshape(tensor.shape or (1,)) for tensor in tensors])


def _split(name: str, joined: Tensor, members: int) -> Sequence[Tensor]:
    if name.endswith("num_batches_tracked"):
        return [joined] * members
    return joined.chunk(members)


def _difference(first: nn.Module, other: nn.Module) -> str:
    """Say where another network first differs from the first in structure, if it does."""
    modules, others = dict(first.named_modules()), dict(other.named_modules())
    for name in [*modules, *others]:
        ours, theirs = _describe(modules.get(name)), _describe(others.get(name))
        for key in [*ours, *theirs]:
            if ours.get(key) != theirs.get(key):
                where = name or "the network"
                return f"{where} has {key} {theirs.get(key)} instead of {ours.get(key)}"
    return ""


def _describe(module: nn.Module | None) -> dict[str, Any]:
    """The type and the plain attributes of a module, less what does not change what it computes."""
    if module is None:
        return {}
    plain = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    for name in ("training", "gate_bias"):  # a mode, and what a parameter started at
        plain.pop(name, None)
    return {"type": type(module).__name__, **plain}


def _packed(module: nn.Module, members: int) -> nn.Module:
    """Replace a module, and before it all inside, by what computes that of all members."""
    for name, child in module.named_children():
        setattr(module, name, _packed(child, members))
    if type(module) not in COUNTERPARTS:
        raise DesignError(f"{type(module).__name__} cannot be packed")
    return COUNTERPARTS[type(module)](module, members)


def _as_it_is(module: nn.Module, members: int) -> nn.Module:
    """Keep what does to the channels of all members what it does to those of one."""
    return module


def _conv(conv: nn.Conv2d, members: int) -> nn.Conv2d:
    return nn.Conv2d(
        members * conv.in_channels,
        members * conv.out_channels,
        conv.kernel_size,  # type: ignore[arg-type]
        conv.stride,  # type: ignore[arg-type]
        conv.padding,  # type: ignore[arg-type]
        groups=members * conv.groups,
        bias=conv.bias is not None,
    )


def _batch_norm(norm: nn.BatchNorm2d, members: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(members * norm.num_features, norm.eps, norm.momentum)


def _group_norm(norm: nn.GroupNorm, members: int) -> nn.GroupNorm:
    return nn.GroupNorm(members * norm.num_groups, members * norm.num_channels, norm.eps)


COUNTERPARTS: dict[type[nn.Module], Callable[[Any, int], nn.Module]] = {
    # Operations
    nn.Conv2d: _conv,
    nn.Linear: packed.PackedLinear,
    nn.BatchNorm2d: _batch_norm,
    ops.ZeroGammaBatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    ops.LayerNorm2d: packed.PackedLayerNorm2d,
    ops.Scale: packed.PackedScale,
    ops.Pad: packed.PackedPad,
    nn.Dropout: packed.PackedDropout,
    ops.DropPath: packed.PackedDropPath,
    ops.SqueezeExcitation: _as_it_is,
    nn.ReLU: _as_it_is,
    nn.ReLU6: _as_it_is,
    nn.GELU: _as_it_is,
    nn.SiLU: _as_it_is,
    nn.MaxPool2d: _as_it_is,
    nn.AvgPool2d: _as_it_is,
    nn.Identity: _as_it_is,
    # Merges
    block.PlainBlock: _as_it_is,
    block.AddBlock: _as_it_is,
    block.ScaledAddBlock: _as_it_is,
    block.GateBlock: _as_it_is,
    block.ShortcutGateBlock: _as_it_is,
    block.WeightedAddBlock: packed.PackedWeightedAddBlock,
    block.CatBlock: packed.PackedCatBlock,
    block.DualBlock: packed.PackedDualBlock,
    link.AddLinks: _as_it_is,
    link.CatLinks: packed.PackedCatLinks,
    # Containers
    nn.Sequential: _as_it_is,
    nn.ModuleList: _as_it_is,
    nn.ModuleDict: _as_it_is,
    Network: _as_it_is,
    LinkedNetwork: _as_it_is,
}
