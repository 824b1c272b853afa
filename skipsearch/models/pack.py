"""Networks of the same structure computed as one, because starting an operation costs time.

Small networks spend most of theirs on it. K of them, such as the seeds of one design, in a single
network with grouped convolutions start as many operations as one of them would.
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
from skipsearch.models.network import LinkedNetwork, Network
from skipsearch.models.ops import OPS, DropPath, PackedDropPath
from skipsearch.models.packed import Packed, PackedLinear, Random, as_it_is

SHARED = "num_batches_tracked"  # one number for all members; they train for the same batches


def pack(models: Sequence[Network]) -> Network:
    """Return one network that computes all of several networks of the same structure.

    It takes images (N, K * in_channels, H, W), those for the first of the K members first, to
    logits (N, K, classes). It is made for channels_last.

    Its parameters and buffers have the names that a member's have, and hold the members' one behind
    the other along the first axis (K numbers where a member has one). So an optimizer that treats
    every number alike, such as SGD, trains each member as if it were alone. To the last bit, what a
    member becomes depends on the size of the pack and on its place in it, not on its companions.

    Random operations draw for all members from PyTorch's global generator until ``set_generators``
    gives each member its own.

    Args:
        models: At least one network of ``build``; they are left as they are.

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
    """Whether networks of the structure of one can be packed."""
    return all(type(module) in COUNTERPARTS for module in model.modules())


@torch.no_grad()
def unpack(packed: nn.Module, models: Sequence[nn.Module]) -> None:
    """Copy each member's parameters and buffers back, bit by bit.

    Args:
        packed: A network of ``pack``, trained or not.
        models: As many networks, of the same structure, as it was made of.
    """
    states = [model.state_dict() for model in models]
    for name, joined in packed.state_dict().items():
        for state, part in zip(states, _split(name, joined, len(models)), strict=True):
            state[name].copy_(part.view_as(state[name]))


def set_generators(packed: nn.Module, generators: Sequence[torch.Generator]) -> None:
    """Let each member draw its random numbers from a generator of its own.

    On the CPU it then drops what it would drop alone with the global generator in the same state
    (but for ``dropout`` on signals that lie in memory otherwise, as of a single channel they may).

    Args:
        packed: A network of ``pack``.
        generators: One a member, on the device of the images.
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


JOINED: tuple[Joining | Linking, ...] = (PLAIN, *JOININGS.values(), *LINKINGS.values())
# What computes the modules of all members, from that of one and their number.
COUNTERPARTS: Packed = {
    # Operations
    **{kind: packed for each in OPS.values() for kind, packed in each.packed.items()},
    DropPath: PackedDropPath,
    # Merges, and where long skips end
    **{kind: packed for joining in JOINED for kind, packed in joining.packed.items()},
    # The network
    nn.Linear: PackedLinear,
    nn.Identity: as_it_is,
    nn.Sequential: as_it_is,
    nn.ModuleList: as_it_is,
    nn.ModuleDict: as_it_is,
    Network: as_it_is,
    LinkedNetwork: as_it_is,
}
