"""Checks of ``deepen``'s arguments: two designs, a network of the first, and images."""

from __future__ import annotations

from dataclasses import fields
from typing import cast

import torch
from torch import Tensor, nn

from skipsearch.design import Design
from skipsearch.errors import DesignError, shown_value
from skipsearch.kinds import MAPS, NO_STEM, split_link
from skipsearch.layout import parse_run
from skipsearch.models.network import Network, build


def check_designs(design: Design, to_design: Design) -> None:
    """Check that two designs differ only in depth, and that no stage of the second is shallower.

    Raises:
        DesignError: If they do not fit; the message names the field.
    """
    unknown = {
        "ups": bool(to_design.ups),
        "head": parse_run(to_design.head)[-1] in MAPS,
        "stem": to_design.stem == NO_STEM,
        "links": any(
            not isinstance(end, int) for link in to_design.links for end in split_link(link)
        ),
        "link_merge": bool(to_design.links) and to_design.link_merge not in ("add", "cat"),
    }
    for name, is_unknown in unknown.items():
        if is_unknown:
            raise DesignError(
                f"{name}: {shown_value(getattr(to_design, name))} is not deepened; deepen takes"
                " networks that classify, with links between stem and stages that are added or"
                " concatenated"
            )
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
    """Return the first field except ``depths`` in which two designs differ with an effect."""
    names = [field.name for field in fields(Design)]
    differ = [n for n in names if n != "depths" and getattr(design, n) != getattr(to_design, n)]
    try:
        shallow = to_design.replace(depths=design.depths)
    except DesignError:  # a shape fits only at the greater depth, so they are different designs
        return differ[0]
    if shallow.id == design.id:
        return ""
    one, other = design.canonical(), shallow.canonical()
    return next((n for n in differ if getattr(one, n) != getattr(other, n)), differ[0])


def check_model(model: Network, design: Design) -> tuple[int, int]:
    """Check that a model is a network of its design.

    Returns:
        Number of image channels, and number of classes.

    Raises:
        DesignError: If it is not; the message names the first module that differs.
    """
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


def check_images(images: Tensor | None, in_channels: int) -> None:
    """Check that a tensor is a batch of images for a network.

    Raises:
        DesignError: If it is not floating-point images with ``in_channels`` channels.
    """
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
