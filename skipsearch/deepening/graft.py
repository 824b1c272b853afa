"""Copying of trained operations into wider ones, without a change of the trained channels.

A trained channel keeps its values but may have moved: ``kept`` holds, for each channel of the
trained network in order, its index in the new one. Operations that read trained channels have
weights of 0 for all new channels; the weights that write new channels keep their initialisation.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from skipsearch.deepening.norms import NewNorms
from skipsearch.errors import DesignError
from skipsearch.merges import MERGES
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.ops import SqueezeExcitation
from skipsearch.operations import OPERATIONS, Kind
from skipsearch.plan import Block, Step, Steps

RUNS = ("opening.", "branch.", "shortcut.", "after.")  # of a block; others are the join's


def write(conv: nn.Conv2d, rows: Tensor, columns: Tensor, kernels: Tensor) -> bool:
    """Let some output channels read given input channels, and no others.

    Args:
        conv: Convolution to change.
        rows: Output channels (R,).
        columns: Input channels that each of them reads (R, n).
        kernels: Weights of these (R, n, k, k).

    Returns:
        Whether it is possible: a grouped convolution reads within its groups.
    """
    group = rows // (conv.out_channels // conv.groups)
    share = conv.in_channels // conv.groups
    local = columns - group[:, None] * share
    if (local < 0).any() or (local >= share).any():
        return False
    weight = kernels.new_zeros(len(rows), share, *kernels.shape[2:])
    weight.scatter_(1, local[:, :, None, None].expand_as(kernels), kernels)
    conv.weight[rows] = weight
    return True


def is_depthwise(step: Step) -> bool:
    """Return whether each channel is convolved separately."""
    return step.op == "conv" and step.inputs == step.outputs == step.groups


def graft_run(
    old: nn.Sequential,
    new: nn.Sequential,
    was: Steps,
    now: Steps,
    kept: Tensor,
    norms: NewNorms,
    target: Tensor | None = None,
) -> Tensor:
    """Copy a run of operations.

    Args:
        old: Trained modules.
        new: Modules that take over the weights.
        was: Steps of ``old``.
        now: Steps of ``new``.
        kept: Indices of the trained input channels.
        norms: Collection for the new channels of norms.
        target: Required indices of the trained output channels, if they are added to a signal.

    Returns:
        Indices of the trained output channels.

    Raises:
        DesignError: If an operation would mix them with new ones, or move them elsewhere.
    """
    if [step.op for step in was] != [step.op for step in now]:
        raise _obstacle(
            f"what carries {was[0].inputs if was else len(kept)} channels as"
            f" {_words(was)} would carry the wider signal as {_words(now)}"
        )
    for parts in zip(old, new, was, now, strict=True):
        kept = _graft(*parts, kept, norms, target)
    if target is not None and not torch.equal(kept, target):
        raise _obstacle(f"{_words(was)} would join the wider signal to other channels than before")
    return kept


def _obstacle(reason: str) -> DesignError:
    return DesignError(f"no weights ignore the channels that are added before: {reason}")


def _words(steps: Steps) -> str:
    return repr("-".join(step.op for step in steps)) if steps else "the identity"


def _graft(
    old: nn.Module,
    new: nn.Module,
    was: Step,
    now: Step,
    kept: Tensor,
    norms: NewNorms,
    target: Tensor | None,
) -> Tensor:
    if isinstance(old, nn.Conv2d) and isinstance(new, nn.Conv2d):
        writes = torch.arange(was.outputs) if target is None else target
        if is_depthwise(was) and is_depthwise(now):
            writes = kept
        if not _graft_convolution(old, new, kept, writes):
            raise _obstacle(
                f"a convolution in {now.groups} groups would group the channels of the wider"
                " signal anew"
            )
        return writes
    if isinstance(old, SqueezeExcitation) and isinstance(new, SqueezeExcitation):
        inner = torch.arange(old.squeeze.out_channels)
        _graft_convolution(old.squeeze, new.squeeze, kept, inner)
        _graft_convolution(old.excite, new.excite, inner, kept)
        return kept
    if was.op == "pad":
        assert target is not None
        zeros = target[was.inputs :]
        fits = torch.equal(kept, target[: was.inputs]) and bool((zeros >= now.inputs).all())
        return target if fits else kept
    if OPERATIONS[was.op].kind is Kind.NORM:
        _graft_norm(old, new, was, now, kept, norms)
    else:
        new.load_state_dict(old.state_dict())
    return kept


def _graft_convolution(old: nn.Conv2d, new: nn.Conv2d, reads: Tensor, writes: Tensor) -> bool:
    share = old.in_channels // old.groups
    group = torch.arange(old.out_channels) // (old.out_channels // old.groups)
    columns = reads[group[:, None] * share + torch.arange(share)]
    if old.bias is not None and new.bias is not None:
        new.bias[writes] = old.bias
    return write(new, writes, columns, old.weight.detach())


def _graft_norm(
    old: nn.Module, new: nn.Module, was: Step, now: Step, kept: Tensor, norms: NewNorms
) -> None:
    widened = was.outputs != now.outputs
    if widened and was.op == "ln":
        raise _obstacle("'ln' would normalise the channels together with those that are new")
    if isinstance(old, nn.GroupNorm) and isinstance(new, nn.GroupNorm):
        old_size, size = was.outputs // old.num_groups, now.outputs // new.num_groups
        group = kept.reshape(-1, old_size) // size
        if widened and (old_size != size or (group != group[:, :1]).any()):
            raise _obstacle("'gn' would group the channels of the wider signal anew")
    theirs = new.state_dict()
    for name, tensor in old.state_dict().items():
        if tensor.dim():
            theirs[name][kept] = tensor
        else:
            theirs[name].copy_(tensor)
    if widened and isinstance(new, nn.BatchNorm2d):
        is_new = torch.ones(now.outputs, dtype=torch.bool).index_fill(0, kept, False)
        norms.add(new, is_new.nonzero().flatten())


def graft_block(
    old: nn.Module, new: nn.Module, was: Block, now: Block, kept: Tensor, norms: NewNorms
) -> Tensor:
    """Copy a block, with the arguments and result of ``graft_run``."""
    # The casts cover the attributes used below; blocks differ in the join, which has few weights.
    old, new = cast("AddBlock", old), cast("AddBlock", new)
    for name, tensor in old.state_dict().items():
        if not name.startswith(RUNS):  # weights of the join itself
            new.state_dict()[name].copy_(tensor)
    opened = graft_run(old.opening, new.opening, was.opening, now.opening, kept, norms)
    branch = graft_run(old.branch, new.branch, was.branch, now.branch, opened, norms)
    if was.merge is None:
        out = branch
    elif MERGES[was.merge].carries:
        out = _graft_shortcut(old, new, was, now, opened if was.shares_opening else kept, norms)
    else:
        out = torch.cat([kept, now.inputs + branch])
    if was.after:
        out = graft_run(old.after, new.after, was.after, now.after, out, norms)
    return out


def _graft_shortcut(
    old: AddBlock, new: AddBlock, was: Block, now: Block, kept: Tensor, norms: NewNorms
) -> Tensor:
    """Copy the shortcut, and return the indices of the sum and of the concatenated channels."""
    assert was.shortcut is not None
    assert now.shortcut is not None
    carried = now.outputs - now.growth
    wider = carried != was.outputs - was.growth  # the dense path of a dual stage
    target = kept if wider else torch.arange(carried)
    graft_run(old.shortcut, new.shortcut, was.shortcut, now.shortcut, kept, norms, target)
    return torch.cat([target, carried + torch.arange(was.growth)])
