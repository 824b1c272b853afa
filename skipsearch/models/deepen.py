"""A trained network made deeper without changing what it computes."""

from __future__ import annotations

from dataclasses import fields
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import DesignError
from skipsearch.merges import LINK_MERGES
from skipsearch.models.graft import NewNorms, graft_block, graft_run
from skipsearch.models.identity import behind_block, leave, start_as_identity
from skipsearch.models.link import AddLinks
from skipsearch.models.merges.add import AddBlock
from skipsearch.models.network import Network, build
from skipsearch.operations import through
from skipsearch.plan import Join, Stage
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

    Trained blocks are copied, and the new blocks at the end of each stage that grows start as the
    identity: the construction by which He et al. 2015 (arXiv:1512.03385, section 1) argue that a
    deeper model should be no worse, and Net2DeeperNet (Chen et al. 2016, arXiv:1511.05641). Where
    the layout goes on behind a join of long skips, the new blocks stand before the stage's last.
    Under the merges ``cat`` and ``dual`` new blocks append channels, which all that follows
    ignores at first: the weights that read them are 0, and have to learn before a dense block does.

    The function is the same up to rounding. In training mode batch norms divide by the statistics
    of each batch, and new ones that undo themselves do so exactly only where these are those that
    they were given.

    Args:
        model: A network of ``build``, trained or not; it is left as it is.
        design: Its design.
        to_design: What to return: the same but for ``depths``, no stage shallower.
        images: A batch (N, in_channels, H, W) of floating-point images, such as the network is
            trained on, from which new batch norms take their statistics, so that the function is
            nearly the same in training mode too; otherwise their mean is 0 and their variance 1.
        seed: Of the weights of new blocks that are free, which start as in ``build``.

    Returns:
        A network as ``build(to_design, in_channels, classes)`` makes it, on the device and in the
        mode of ``model``.

    Raises:
        DesignError: If the designs differ elsewhere, ``model`` is not of ``design``, or a stage
            cannot grow: the message names the operation that stands in the way, and why.
    """
    _check_designs(design, to_design)
    in_channels, classes = _check_model(model, design)
    weight = model.classifier.weight
    _check_images(images, in_channels)
    network = build(to_design, in_channels, classes, seed).to(weight.device, weight.dtype).eval()
    norms = NewNorms()
    with weight.device:
        _fill(model, network, design.plan(in_channels), to_design, norms)
        if images is not None:
            norms.measure(network, images.to(weight))
    return network.train(model.training)


# Borders ---------------------------------------------------------------------------------------


def _check_designs(design: Design, to_design: Design) -> None:
    old, new = design.depths, to_design.depths
    if len(old) != len(new):
        raise DesignError(f"depths: a network of {len(old)} stages cannot become one of {len(new)}")
    for number, (before, after) in enumerate(zip(old, new, strict=True), 1):
        if after < before:
            raise DesignError(
                f"depths: stage {number} has {before} blocks and would have {after};"
                " deepen adds blocks and takes none away"
            )
    field = _difference(design, to_design)
    if field:
        raise DesignError(
            f"{field}: {getattr(design, field)!r} cannot become {getattr(to_design, field)!r};"
            " deepen changes depths alone"
        )


def _difference(design: Design, to_design: Design) -> str:
    """The first field beside the depths in which two designs differ to some effect."""
    names = [field.name for field in fields(Design)]
    differ = [n for n in names if n != "depths" and getattr(design, n) != getattr(to_design, n)]
    try:
        shallow = to_design.replace(depths=design.depths)
    except DesignError:  # a shape fits at the greater depth alone, so it is not the same design
        return differ[0]
    if shallow.id == design.id:
        return ""
    one, other = design.canonical(), shallow.canonical()
    return next((n for n in differ if getattr(one, n) != getattr(other, n)), differ[0])


def _check_model(model: Network, design: Design) -> tuple[int, int]:
    """Hold a model against its design; return its channels and classes."""
    if not isinstance(model, Network):
        raise DesignError(f"model: {type(model).__name__} is not a network made by build")
    in_channels = cast("nn.Conv2d", model.stem[0]).in_channels
    classes = model.classifier.out_features
    with torch.device("meta"):
        expected = dict(build(design, in_channels, classes).named_modules())
    found = dict(model.named_modules())
    for name in (*expected, *found):
        one, other = _describe(expected.get(name)), _describe(found.get(name))
        if one != other:
            raise DesignError(
                f"model is not of its design: {name or 'the network'} is {other} there and {one}"
                " by the design"
            )
    return in_channels, classes


def _describe(module: nn.Module | None) -> str:
    return f"{type(module).__name__}({module.extra_repr()})" if module else "absent"


def _check_images(images: Tensor | None, in_channels: int) -> None:
    if images is None:
        return
    if images.dim() != 4 or images.shape[1] != in_channels or not images.numel():
        raise DesignError(
            f"images: a batch (N, {in_channels}, H, W) is expected, not {tuple(images.shape)}"
        )
    if not images.is_floating_point():
        raise DesignError(
            f"images: {images.dtype} is not what the network reads; normalise them as for training"
        )


# The walk from stem to classifier --------------------------------------------------------------


class _Signal(NamedTuple):
    """What the trained network has at some place.

    Attributes:
        kept: Where its channels are among those of the new network.
        channels: How many the new network has.
        values: What its plan says of their values.
    """

    kept: Tensor
    channels: int
    values: Range


def _fill(old: Network, new: Network, was: Plan, to_design: Design, norms: NewNorms) -> None:
    """Give every part of the new network its weights."""
    now = to_design.plan(was.stem[0].inputs)
    entering = torch.arange(was.stem[0].inputs)
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
    try:
        kept = graft_run(old.head, new.head, was.head, now.head, outputs[-1].kept, norms)
        kept = graft_run(old.pooled, new.pooled, was.pooled, now.pooled, kept, norms)
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
        if block.after and not trained.after:  # which stood behind the links
            after = cast("AddBlock", module).after
            where = "behind the join of a block that is no longer the last before the links"
            leave(block.after, after, block.outputs, values, norms, where)
    return _Signal(kept, now.blocks[-1].outputs, values)


def _run(stage: nn.Module, name: str) -> nn.Sequential:
    return cast("nn.Sequential", stage.get_submodule(name))


def _sources(was: Stage, now: Stage) -> list[int | None]:
    """For each block of the new stage, the trained one that it copies, counted from 0."""
    trained: list[int | None] = list(range(len(was.blocks)))
    added: list[int | None] = [None] * (len(now.blocks) - len(was.blocks))
    if was.join and was.join.after and len(trained) > 1:
        # The last block goes on behind the links: it stays the last, else its neighbour would
        # have to do at once what it did there.
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
    """Copy the long skips that end at a stage, and what stands behind them."""
    theirs, ours = cast("AddLinks", old), cast("AddLinks", new)
    kept, channels = signal.kept, now.inputs
    merge, values = LINK_MERGES[was.merge], signal.values
    for i, (before, after) in enumerate(zip(was.links, now.links, strict=True)):
        source = outputs[before.source]
        target = kept if merge.carries else None
        runs = cast("nn.Sequential", theirs.links[i]), cast("nn.Sequential", ours.links[i])
        carried = graft_run(*runs, before.steps, after.steps, source.kept, norms, target)
        if not merge.carries:
            kept = torch.cat([kept, channels + carried])
            channels += source.channels
        values = merge.behind(values, through(before.steps, source.values))
    if was.after:
        kept = graft_run(theirs.after, ours.after, was.after, now.after, kept, norms)
        return _Signal(kept, channels, through(was.after, values))
    leave(now.after, ours.after, now.outputs, values, norms, "behind the links")
    return _Signal(kept, channels, values)
