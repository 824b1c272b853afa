"""Deepening of a trained network without changing its function."""

from __future__ import annotations

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from skipsearch.deepening.checks import check_designs, check_images, check_model
from skipsearch.deepening.graft import graft_block, graft_run
from skipsearch.deepening.identity import behind_block, leave, start_as_identity
from skipsearch.deepening.norms import NewNorms
from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.merges import LINK_MERGES
from skipsearch.models.links import LINKINGS
from skipsearch.models.links.add import AddLinks
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.network import Network, build
from skipsearch.operations import through
from skipsearch.plan import Head, Join, Stage
from skipsearch.plan import Network as Plan
from skipsearch.ranges import ANY, Range


@torch.no_grad()
def deepen(
    model: Network,
    design: Design,
    to_design: Design,
    images: Tensor | None = None,
    seed: int = 0,
) -> Network:
    """Return a deeper network that computes the same function in evaluation mode.

    Trained blocks are copied, and the new blocks at the end of each deepened stage start as the
    identity. This is the construction by which He et al. 2015 (arXiv:1512.03385, section 1) argue
    that a deeper model should be no worse, and Net2DeeperNet (Chen et al. 2016, arXiv:1511.05641).
    If the layout has operations after a join of long skips, the new blocks come before the stage's
    last. With the merges ``cat`` and ``dual``, new blocks append channels that all later operations
    ignore at first: the weights that read them are 0 and must learn before a dense block does.

    The function is the same up to rounding. In training mode, batch norms divide by the statistics
    of each batch, so new ones undo themselves exactly only if these equal their given statistics.

    Args:
        model: Network of ``build``, trained or not; it is not changed.
        design: Design of ``model``.
        to_design: Design to return: the same except for ``depths``, with no stage shallower.
        images: Batch (N, in_channels, H, W) of floating-point images, as used in training, from
            which new batch norms take their statistics, so that the function is nearly the same in
            training mode too; without it their mean is 0 and their variance 1.
        seed: Seed of the free weights of new blocks, which start as in ``build``.

    Returns:
        A network as from ``build(to_design, in_channels, classes)``, on the device and in the mode
        of ``model``.

    Raises:
        DesignError: If the designs differ elsewhere, ``model`` is not of ``design``, or a stage
            cannot be deepened: the message names the operation that prevents it, and why.
    """
    check_designs(design, to_design)
    in_channels, classes = check_model(model, design)
    weight = model.classifier.weight
    check_images(images, in_channels)
    network = build(to_design, in_channels, classes, seed).to(weight.device, weight.dtype).eval()
    norms = NewNorms()
    with weight.device:
        _fill(model, network, design.plan(in_channels), to_design, norms)
        if images is not None:
            norms.measure(network, images.to(weight))
    return network.train(model.training)


class _Signal(NamedTuple):
    """The signal of the trained network at some point.

    Attributes:
        kept: Indices of its channels in the new network.
        channels: Number of channels in the new network.
        values: Bounds of its values, from the plan.
    """

    kept: Tensor
    channels: int
    values: Range


def _fill(old: Network, new: Network, was: Plan, to_design: Design, norms: NewNorms) -> None:
    """Set the weights of every part of the new network."""
    now = to_design.plan(was.in_channels)
    entering = torch.arange(was.in_channels)
    kept = graft_run(old.stem, new.stem, was.stem, now.stem, entering, norms)
    channels = now.stem[-1].outputs
    outputs = [_Signal(kept, channels, through(was.stem, ANY))]  # of the stem and of each stage
    layouts = [stage.layout for stage in to_design.stages]
    for number, layout in enumerate(layouts, 1):
        name = f"stage{number}"
        before, after = was.stages[number - 1], now.stages[number - 1]
        modules = old.stages.get_submodule(name), new.stages.get_submodule(name)
        try:
            signal = _fill_stage(*modules, before, after, outputs[-1], norms)
            if before.join and after.join:
                joins = old.joins[name], new.joins[name]
                signal = _fill_join(*joins, before.join, after.join, signal, outputs, norms)
        except DesignError as error:
            raise DesignError(f"stage {number}, layout {str(layout)!r}: {error}") from None
        outputs.append(signal)
    assert isinstance(was.head, Head), "checked"
    assert isinstance(now.head, Head), "checked"
    try:
        kept = graft_run(
            old.head, new.head, was.head.steps, now.head.steps, outputs[-1].kept, norms
        )
        kept = graft_run(old.pooled, new.pooled, was.head.pooled, now.head.pooled, kept, norms)
    except DesignError as error:
        raise DesignError(f"head: {error}") from None
    nn.init.zeros_(new.classifier.weight)
    new.classifier.weight[:, kept] = old.classifier.weight
    new.classifier.bias.copy_(old.classifier.bias)


def _fill_stage(
    old: nn.Module, new: nn.Module, was: Stage, now: Stage, signal: _Signal, norms: NewNorms
) -> _Signal:
    kept, values = signal.kept, signal.values
    if was.transition:
        runs = _run(old, "transition"), _run(new, "transition")
        kept = graft_run(*runs, was.transition, now.transition, kept, norms)
        values = through(was.transition, values)
    for number, source in enumerate(_sources(was, now)):
        block, module = now.blocks[number], new.get_submodule(f"block{number + 1}")
        if source is None:
            start_as_identity(block, module, values, norms)
            continue
        trained, its_module = was.blocks[source], old.get_submodule(f"block{source + 1}")
        kept = graft_block(its_module, module, trained, block, kept, norms)
        values = behind_block(trained, values)
        if block.after and not trained.after:  # which came after the links
            after = cast("AddBlock", module).after
            where = "behind the join of a block that is no longer the last before the links"
            leave(block.after, after, block.outputs, values, norms, where)
    return _Signal(kept, now.blocks[-1].outputs, values)


def _run(stage: nn.Module, name: str) -> nn.Sequential:
    return cast("nn.Sequential", stage.get_submodule(name))


def _sources(was: Stage, now: Stage) -> list[int | None]:
    """Return, for each block of the new stage, the index of the trained one that it copies."""
    trained: list[int | None] = list(range(len(was.blocks)))
    added: list[int | None] = [None] * (len(now.blocks) - len(was.blocks))
    if was.join and was.join.after and len(trained) > 1:
        # The last block continues after the links. It stays the last, since otherwise the same
        # operations would have to come directly after its own join.
        return [*trained[:-1], *added, trained[-1]]
    return [*trained, *added]


def _fill_join(
    old: nn.Module,
    new: nn.Module,
    was: Join,
    now: Join,
    signal: _Signal,
    outputs: list[_Signal],
    norms: NewNorms,
) -> _Signal:
    """Copy the long skips that end at a stage, and the operations after them."""
    theirs, ours = cast("AddLinks", old), cast("AddLinks", new)
    kept, channels = signal.kept, now.inputs
    carries, values = LINK_MERGES[was.merge].carries, signal.values
    for i, (before, after) in enumerate(zip(was.links, now.links, strict=True)):
        assert isinstance(before.source, int), "checked"
        source = outputs[before.source]
        target = kept if carries else None
        runs = cast("nn.Sequential", theirs.links[i]), cast("nn.Sequential", ours.links[i])
        carried = graft_run(*runs, before.steps, after.steps, source.kept, norms, target)
        if not carries:
            kept = torch.cat([kept, channels + carried])
            channels += source.channels
        values = LINKINGS[was.merge].behind(values, through(before.steps, source.values))
    if was.after:
        kept = graft_run(theirs.after, ours.after, was.after, now.after, kept, norms)
        return _Signal(kept, channels, through(was.after, values))
    leave(now.after, ours.after, now.outputs, values, norms, "behind the links")
    return _Signal(kept, channels, values)
