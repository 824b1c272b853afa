"""Stem and head: the norms and activations that a layout adds to them, and their steps."""

from __future__ import annotations

from collections.abc import Sequence

from skipsearch.kinds import NO_STEM
from skipsearch.layout import Layout, is_convolution, split_convolution
from skipsearch.operations import ACTIVATIONS, NORMS, ordinary
from skipsearch.plan import Head, MapHead, OutputLink, Step, Steps
from skipsearch.planning.chains import plain_step
from skipsearch.planning.links import Start


def head_tokens(layout: Layout) -> tuple[str, ...]:
    """Return the norms and activations that a layout adds before the head.

    They are those that its branch begins with, so that the last block's output gets them too.
    """
    return tuple(
        ordinary(token) for token in layout.opening if token in NORMS or token in ACTIVATIONS
    )


def stem_ending(layout: Layout) -> tuple[str, ...]:
    """Return the norm and activation that a layout adds after the stem.

    They are those of the block, except for the ones that begin its branch. If the block has no norm
    (or activation), the stem gets none either.
    """
    ending = []
    for kinds in (NORMS, ACTIVATIONS):
        used = [token for token in (*layout.branch, *layout.after) if token in kinds]
        if used and not any(token in kinds for token in layout.opening):
            ending.append(ordinary(used[0]))
    return tuple(ending)


def complete_stem(stem: tuple[str, ...], layout: Layout) -> tuple[str, ...]:
    """Add the layout's operations after the stem's last convolution, unless others follow it.

    The pooling of a stem comes last (He et al. 2015, arXiv:1512.03385, Table 1).
    """
    core = stem[:-1] if stem[-1] == "pool" else stem
    if is_convolution(core[-1]):
        core += stem_ending(layout)
    return (*core, "pool") if stem[-1] == "pool" else core


def complete_head(head: tuple[str, ...], layout: Layout) -> tuple[str, ...]:
    """Add the layout's operations before the head, unless it begins with a norm or activation."""
    opens = next(token for token in head if token != "dropout")
    return head if opens in NORMS or opens in ACTIVATIONS else (*head_tokens(layout), *head)


def plan_head(
    head: tuple[str, ...], channels: int, width: int, dropout: float, layout: Layout
) -> Head:
    """Resolve the head.

    Args:
        head: Operations, including ``mean``.
        channels: Number of input channels.
        width: Output channels of each convolution; 0 for its input channels.
        dropout: Rate of every ``dropout``.
        layout: Layout of the last stage.
    """
    tokens = complete_head(head, layout)
    steps: list[Step] = []
    for token in tokens:
        if is_convolution(token):
            outputs = width or channels
            steps.append(Step("conv", channels, outputs, split_convolution(token)[1]))
            channels = outputs
        elif token == "mean":
            before, steps = tuple(steps), []
        else:
            steps += plain_step(token, channels, dropout)
    return Head(before, tuple(steps), channels)


def plan_map_head(
    head: tuple[str, ...],
    channels: int,
    width: int,
    dropout: float,
    layout: Layout,
    level: int,
    links: Sequence[Start],
) -> MapHead:
    """Resolve a head with values for each pixel.

    Args:
        head: Operations; the last is a word of ``MAPS``.
        channels: Number of input channels.
        width: Output channels of each convolution before the map; 0 for its input channels.
        dropout: Rate of every ``dropout``.
        layout: Layout of the last stage.
        level: Number of halvings up to the last stage.
        links: Starts of the long skips to the output.
    """
    *tokens, last = head
    # The other operations are those of a head with nothing after its pooling.
    before = plan_head((*tokens, "mean"), channels, width, dropout, layout)
    kernel = 3 if last == "map3" else 1
    to_output = tuple(OutputLink(each.end, each.channels, 2**each.level) for each in links)
    return MapHead(before.steps, kernel, before.features, 2**level, to_output)


def plan_stem(stem: tuple[str, ...], width: int, in_channels: int, layout: Layout) -> Steps:
    """Resolve the stem.

    A stem that pools is the ImageNet stem: its first convolution has stride 2. In a stem with
    several convolutions, all but the last are half as wide (He et al. 2019, arXiv:1812.01187,
    Fig. 2b, ResNet-C).

    Args:
        stem: Operations, including convolutions and possibly ``pool``.
        width: Number of output channels.
        in_channels: Number of image channels.
        layout: Layout of the first stage.
    """
    if stem == (NO_STEM,):
        return ()
    tokens = complete_stem(stem, layout)
    convolutions_left = sum(map(is_convolution, tokens))
    stride = 2 if tokens[-1] == "pool" else 1
    steps: list[Step] = []
    channels = in_channels
    for token in tokens:
        if is_convolution(token):
            convolutions_left -= 1
            outputs = width if convolutions_left == 0 else max(1, width // 2)
            kernel = split_convolution(token)[1]
            steps.append(Step("conv", channels, outputs, kernel, stride))
            channels, stride = outputs, 1
        elif token == "pool":
            steps.append(Step("maxpool", channels, channels, 3, 2))
        else:
            steps += plain_step(token, channels, 0.0)
    return tuple(steps)
