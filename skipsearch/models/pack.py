"""Networks of the same structure computed as one, because launching an operation takes time.

Small networks spend most of their time on launches. K of them, such as the seeds of one design,
combined into one network with grouped convolutions launch only as many operations as one of them.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skipsearch.errors import DesignError
from skipsearch.models.links import LINKINGS
from skipsearch.models.links.linking import Linking
from skipsearch.models.merges import JOININGS, PLAIN
from skipsearch.models.merges.joining import Joining
from skipsearch.models.network import LinkedNetwork, MapNetwork, Network
from skipsearch.models.ops import OPS, DefaultConv2d, DropPath, PackedDropPath, pack_convolution
from skipsearch.models.packed import Packed, PackedLinear, Random, as_it_is

SHARED = "num_batches_tracked"  # one number for all members, which train on equally many batches


def pack(models: Sequence[Network]) -> Network:
    """Return one network that computes several networks of the same structure.

    It maps images (N, K * in_channels, H, W), with those for the first of the K members first, to
    logits (N, K, classes). It is designed for channels_last.

    Its parameters and buffers have the same names as a member's. They hold those of the members,
    concatenated along the first axis (K numbers for a member's scalar). So an optimizer that treats
    all elements alike, such as SGD, trains each member as if it were alone. The last bits of a
    member depend on the size of the pack and on its position in it, not on the other members.

    Random operations draw for all members from PyTorch's global generator until ``set_generators``
    sets one per member.

    Args:
        models: Networks of ``build``, at least one; they are not changed.

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
    state = {name: _join(name, [each[name] for each in states]) for name in states[0]}
    with torch.device("meta"):  # shapes alone: no memory, no random numbers
        packed = _packed(copy.deepcopy(models[0]), len(models))
    packed.load_state_dict(state, assign=True)
    packed.train(models[0].training)
    assert isinstance(packed, Network)
    return packed


def can_pack(model: Network) -> bool:
    """Return whether networks with the structure of ``model`` can be packed."""
    return all(type(module) in COUNTERPARTS for module in model.modules())


@torch.no_grad()
def unpack(packed: nn.Module, models: Sequence[nn.Module]) -> None:
    """Copy each member's parameters and buffers back exactly.

    Args:
        packed: Network of ``pack``, trained or not.
        models: One network of the same structure for each member.
    """
    states = [model.state_dict() for model in models]
    for name, joined in packed.state_dict().items():
        for state, part in zip(states, _split(name, joined, len(models)), strict=True):
            state[name].copy_(part.view_as(state[name]))


def set_generators(packed: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Set a separate random generator for each member.

    On the CPU, a member then drops the same values as alone with the global generator in the same
    state, except for ``dropout`` on a different memory layout, as signals of one channel may have.

    Args:
        packed: Network of ``pack``.
        generators: Generator of each member, on the device of the images.
    """
    for module in packed.modules():
        if isinstance(module, Random):
            assert len(generators) == len(module.generators)
            module.generators = generators


def _join(name: str, tensors: list[Tensor]) -> Tensor:
    if name.endswith(SHARED):
        if any(tensor != tensors[0] for tensor in tensors):
            raise DesignError(f"the networks of the pack differ in {name}")
        return tensors[0].clone()
    return torch.cat([tensor if tensor.ndim else tensor[None] for tensor in tensors])


def _split(name: str, joined: Tensor, members: int) -> Sequence[Tensor]:
    if name.endswith(SHARED):
        return [joined] * members
    return joined.chunk(members)


def _difference(first: nn.Module, other: nn.Module) -> str:
    """Describe the first difference in structure of another network; empty if there is none."""
    modules, others = dict(first.named_modules()), dict(other.named_modules())
    for name in [*modules, *others]:
        ours, theirs = _describe(modules.get(name)), _describe(others.get(name))
        for key in [*ours, *theirs]:
            if ours.get(key) != theirs.get(key):
                where = name or "the network"
                return f"{where} has {key} {theirs.get(key)} instead of {ours.get(key)}"
    return ""


def _describe(module: nn.Module | None) -> dict[str, Any]:
    """Return the type and the plain attributes of a module that affect what it computes."""
    if module is None:
        return {}
    plain = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    for name in ("training", "gate_bias"):  # a mode, and an initial value
        plain.pop(name, None)
    return {"type": type(module).__name__, **plain}


def _packed(module: nn.Module, members: int) -> nn.Module:
    """Replace a module, after all inside it, with the packed counterpart of all members."""
    for name, child in module.named_children():
        setattr(module, name, _packed(child, members))
    if type(module) not in COUNTERPARTS:
        raise DesignError(f"{type(module).__name__} cannot be packed")
    return COUNTERPARTS[type(module)](module, members)


JOINED: tuple[Joining | Linking, ...] = (PLAIN, *JOININGS.values(), *LINKINGS.values())
# The packed counterparts, as functions of one member's module and the number of members.
COUNTERPARTS: Packed = {
    # Operations
    **{kind: packed for each in OPS.values() for kind, packed in each.packed.items()},
    DropPath: PackedDropPath,
    # Merges, and joins of long skips
    **{kind: packed for joining in JOINED for kind, packed in joining.packed.items()},
    # The network
    nn.Linear: PackedLinear,
    DefaultConv2d: pack_convolution,
    nn.Identity: as_it_is,
    nn.Sequential: as_it_is,
    nn.ModuleList: as_it_is,
    nn.ModuleDict: as_it_is,
    Network: as_it_is,
    LinkedNetwork: as_it_is,
    MapNetwork: as_it_is,
}
