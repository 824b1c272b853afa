"""New blocks that start as the identity on their input.

"There exists a solution by construction to the deeper model: the added layers are identity
mapping" (He et al. 2015, arXiv:1512.03385, section 1). If a shortcut carries the signal, the
branch starts at 0. Otherwise the branch carries it: its convolutions are Dirac deltas, and its
norms are undone by their own weights (Net2DeeperNet: Chen et al. 2016, arXiv:1511.05641).
"""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from skipsearch.deepening.graft import is_depthwise, write
from skipsearch.deepening.norms import NewNorms
from skipsearch.errors import DesignError
from skipsearch.models.merges import joining_of
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.ops import Scale, ZeroGammaBatchNorm2d
from skipsearch.operations import NORMS, OPERATIONS, through
from skipsearch.plan import Block, Step, Steps
from skipsearch.ranges import Range

# Replaces 0 if a later operation has no gradient at 0. It is far below the resolution of float32
# for any relevant signal.
ALMOST_ZERO = 1e-12


def behind_block(block: Block, signal: Range) -> Range:
    """Return the bounds of a block's output, given those of its input."""
    opened = through(block.opening, signal)
    branch = through(block.branch, opened)
    shortcut = through(block.shortcut or (), opened if block.shares_opening else signal)
    return through(block.after, joining_of(block).behind(block, branch, shortcut))


def start_as_identity(block: Block, module: nn.Module, signal: Range, norms: NewNorms) -> None:
    """Make a new block after another one keep its input unchanged in evaluation mode.

    With the merges ``cat`` and ``dual`` the block appends channels, whose weights are free.

    Args:
        block: Shapes of the block.
        module: Module of the block, as built by ``build``.
        signal: Bounds of the input values.
        norms: Collection for the new norms.

    Raises:
        DesignError: If no weights make the block the identity; the message names the operation
            that prevents it, and why.
    """
    # The cast covers the attributes used below: opening, branch and after are in every block.
    unit = cast("AddBlock", module)
    _note(module, norms)
    if block.shortcut:
        where = "before the projection of the shortcut"
        leave(block.opening, unit.opening, block.inputs, signal, norms, where)
        # The projection compensates for a constant factor of the shortcut.
        gain = 1 / (block.shortcut_scale or 1.0)
        _carry(block, block.shortcut, unit.shortcut, signal, gain, norms, "in the shortcut")
    start = joining_of(block).start(block, module)
    if start.gain is not None:
        _carry_by_branch(block, unit, signal, start.gain, norms)
    elif start.zeroed:
        _zero(block.branch, unit.branch, start.zeroed)
    leave(block.after, unit.after, block.inputs, signal, norms, "behind the join")


def _obstacle(reason: str) -> DesignError:
    return DesignError(f"no weights make a new block the identity: {reason}")


def _note(module: nn.Module, norms: NewNorms) -> None:
    """Add the norms of a block, and set weights that start at 0 to 1: two 0s stop gradients."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            norms.add(part, torch.arange(part.num_features))
        if isinstance(part, ZeroGammaBatchNorm2d):
            nn.init.ones_(part.weight)
        if isinstance(part, Scale):
            nn.init.ones_(part.factor)


def _zero(steps: Steps, modules: nn.Sequential, channels: int) -> None:
    """Make the first output channels of a branch 0, with the last operation that can do so.

    Later operations map 0 to 0. A norm is preferred to the convolution before it, as in Goyal et
    al. 2017, arXiv:1706.02677, section 5.1.
    """
    parts = list(zip(steps, modules, strict=True))
    zero = 0.0
    while parts:
        step, module = parts.pop()
        if OPERATIONS[step.op].dead_at_zero:
            zero = ALMOST_ZERO
        if isinstance(module, Scale) and channels == step.outputs:
            nn.init.constant_(module.factor, zero)
            return
        if step.op == "conv" or step.op in NORMS:
            cast("Tensor", module.weight)[:channels] *= zero
            return
    raise AssertionError("a branch has a convolution")


def leave(
    steps: Steps, modules: nn.Sequential, channels: int, signal: Range, norms: NewNorms, where: str
) -> None:
    """Make a run of operations keep the first channels of a signal unchanged.

    Args:
        steps: Run of operations, which keeps the number of channels.
        modules: Modules of the run.
        channels: Number of channels to keep.
        signal: Bounds of their values.
        norms: Collection for the undone norms.
        where: Description of the run for the message.

    Raises:
        DesignError: If an operation changes the signal whatever its weights are.
    """
    for step, module in zip(steps, modules, strict=True):
        if isinstance(module, nn.Conv2d):
            _pass_on(module, torch.arange(channels), 1.0)
        elif not _undo(module, norms) and not OPERATIONS[step.op].keeps(signal):
            raise _obstacle(f"{step.op!r} {where} {OPERATIONS[step.op].obstacle}")


def _undo(module: nn.Module, norms: NewNorms) -> bool:
    """Make an operation the identity by its weights, if possible."""
    if isinstance(module, nn.BatchNorm2d):
        norms.undo(module)
    elif isinstance(module, Scale):
        nn.init.ones_(module.factor)
    else:
        return False
    return True


def _pass_on(conv: nn.Conv2d, channels: Tensor, gain: float) -> None:
    """Let a convolution pass some channels on at the same indices."""
    _mix(conv, channels, channels[:, None], _full(len(channels), gain))


def _full(count: int, value: float) -> Tensor:
    return torch.full((count, 1), value, dtype=torch.float64)


def _mix(conv: nn.Conv2d, rows: Tensor, columns: Tensor, values: Tensor) -> None:
    """Let a convolution sum input channels pixel by pixel: its kernels are Dirac deltas."""
    kernel = conv.kernel_size[0]
    kernels = conv.weight.new_zeros(*columns.shape, kernel, kernel)
    kernels[:, :, kernel // 2, kernel // 2] = values.to(kernels)
    fits = write(conv, rows, columns, kernels)
    assert fits, "slots keep channels within their groups"


def _carry_by_branch(
    block: Block, unit: AddBlock, signal: Range, gain: float, norms: NewNorms
) -> None:
    """Make the branch output its input times a constant."""
    words = f"merge {block.merge!r}" if block.merge else "a plain layout"
    if block.merge == "add":
        words = f"shortcut_scale {block.shortcut_scale:g}"
    where = f"in the branch, which has to carry the signal under {words},"
    leave(block.opening, unit.opening, block.inputs, signal, norms, where)
    _carry(block, block.branch, unit.branch, signal, gain, norms, where)


class _Carried(NamedTuple):
    """The indices of the channels of the block's input x inside its branch.

    Attributes:
        plus: Channels with f(x), where f is the activations since the last convolution.
        minus: Channels with f(-x), if any.
        bent: Whether f is not the identity, and f(x) and f(-x) restore x.
    """

    plus: Tensor
    minus: Tensor | None = None
    bent: bool = False

    @property
    def channels(self) -> Tensor:
        return self.plus if self.minus is None else torch.cat([self.plus, self.minus])


def _carry(
    block: Block,
    steps: Steps,
    modules: nn.Sequential,
    signal: Range,
    gain: float,
    norms: NewNorms,
    where: str,
) -> None:
    """Make a run that begins with a convolution output its input times a constant."""
    carried = _Carried(torch.arange(block.inputs))
    last = max(i for i, step in enumerate(steps) if step.op == "conv")
    groups = max(1 if is_depthwise(step) else step.groups for step in steps)
    values = signal
    for i, (step, module) in enumerate(zip(steps, modules, strict=True)):
        factor = gain if i == last else 1.0
        if isinstance(module, nn.Conv2d) and is_depthwise(step):
            _pass_on(module, carried.channels, factor)
            values = values.times(factor)
        elif isinstance(module, nn.Conv2d):
            values = signal.times(factor)
            bends = _bends(steps[i + 1 :], values)
            slots = _slots(block.inputs, step, groups, bends, where)
            _convolve(module, carried, slots, factor)
            carried = slots
            if carried.minus is not None:
                values = values.hull(values.times(-1.0))
        elif not _undo(module, norms) and not OPERATIONS[step.op].keeps(values):
            operation = OPERATIONS[step.op]
            if carried.bent or carried.minus is None or not operation.mendable:
                raise _obstacle(f"{step.op!r} {where} {operation.obstacle}")
            carried = carried._replace(bent=True)
            values = through((step,), values)


def _bends(steps: Steps, signal: Range) -> str:
    """Return the first activation that changes a signal, if a later dense convolution undoes it."""
    found = ""
    for step in steps:
        if step.op == "conv" and not is_depthwise(step):
            return found
        operation = OPERATIONS[step.op]
        if not found and operation.mendable and not operation.keeps(signal):
            found = step.op
    return ""


def _convolve(conv: nn.Conv2d, carried: _Carried, slots: _Carried, factor: float) -> None:
    """Map carried channels to their slots by a dense convolution, as x or as x and -x."""
    columns, values = carried.plus[:, None], _full(len(carried.plus), factor)
    if carried.bent and carried.minus is not None:
        columns = torch.stack([carried.plus, carried.minus], 1)
        values = torch.cat([values, -values], 1)
    if slots.minus is not None:
        columns, values = columns.repeat(2, 1), torch.cat([values, -values])
    _mix(conv, slots.channels, columns, values)


def _slots(count: int, step: Step, groups: int, bends: str, where: str) -> _Carried:
    """Return the output channels of a dense convolution for the carried channels.

    They are spread over the groups of grouped convolutions, which keep them in their groups.

    Args:
        count: Number of carried channels.
        step: Dense convolution.
        groups: Number of groups of the grouped convolutions of the branch.
        bends: Activation after it that also needs their negatives, if any.
        where: Description of the run for the message.
    """
    if step.outputs < count:
        raise _obstacle(
            f"'conv{step.kernel}' {where} has {step.outputs} channels for the {count} of the signal"
        )
    groups = 1 if step.outputs % groups else groups
    share, size = -(-count // groups), step.outputs // groups
    number = torch.arange(count)
    plus = number // share * size + number % share
    if not bends:
        return _Carried(plus)
    if 2 * share > size:
        raise _obstacle(
            f"{bends!r} {where} {OPERATIONS[bends].obstacle}, and 'conv{step.kernel}' before it has"
            f" {step.outputs} channels, too few for the {count} of the signal and their negatives,"
            " from which it could be restored"
        )
    return _Carried(plus, plus + share)
