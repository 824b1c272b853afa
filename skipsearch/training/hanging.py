"""Selection and computation of the predictions in a gallery."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skipsearch.data import Data, Split
from skipsearch.data.source import Array
from skipsearch.gallery import Gallery, Pixels
from skipsearch.training.bootstrap import bootstrap
from skipsearch.training.criteria.confusion import overlaps
from skipsearch.training.step import Step


def hang(
    data: Data, split: Split, step: Step, tallies: Tensor, groups: Array | None = None
) -> Gallery:
    """Return a gallery of the best, the median and the worst image of a split.

    Args:
        data: Data set of the training.
        split: Split of the images.
        step: Training step with one network.
        tallies: Complete tally (images, ...) of each image.
        groups: Group (images,) of each image; None if every image is its own group.
    """
    restores = data.task.restores
    # The score of each image alone
    scores = torch.tensor(step.criterion.scores(tallies, 1), dtype=torch.float64)
    order = scores.argsort(descending=True, stable=True)
    chosen = order[[0, (len(order) - 1) // 2, -1]]
    step.model.eval()
    with torch.no_grad():
        inputs, target = step.examples.of(split, chosen.to(step.device))
        layout = torch.channels_last
        outputs = step.forward(inputs.contiguous(memory_format=layout))[:, 0]
    return Gallery(
        task=data.task,
        class_names=() if restores else data.class_names,
        images=_pixels(data, inputs),
        truth=_pixels(data, target) if restores else _classes(target),
        found=_pixels(data, outputs) if restores else _classes(outputs.argmax(1)),
        scores=tuple(scores[chosen].tolist()),
        count=len(split),
        overlaps={} if restores else _overlaps(data, tallies, groups),
        groups=None if groups is None else len(np.unique(groups)),
    )


def _pixels(data: Data, images: Tensor) -> Pixels:
    """Convert normalised images (N, C, H, W) to grey levels (N, H, W, C).

    Pixels without a full scale are shown between their least and greatest value. Of images with
    other than one or three channels, the first channel is shown.
    """
    mean, std = (
        torch.tensor(v, device=images.device)[:, None, None] for v in (data.mean, data.std)
    )
    values = images * std + mean
    if data.in_channels not in (1, 3):
        values = values[:, :1]
    if data.pixels.startswith("float"):
        low, span = values.amin(), values.amax() - values.amin()
        values = (values - low) / span.where(span > 0, 1)
    levels = (values * 255).round().clamp(0, 255)
    pixels: Pixels = levels.to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return pixels


def _classes(classes: Tensor) -> Pixels:
    masks: Pixels = classes.to(torch.uint8).cpu().numpy()
    return masks


def _overlaps(
    data: Data, tallies: Tensor, groups: Array | None
) -> dict[str, tuple[float, float, float]]:
    """Return the IoU of each class, and its interval by bootstrap."""
    whole = overlaps(tallies.sum(0)).tolist()
    found = {}
    for number, (name, iou) in enumerate(zip(data.class_names, whole, strict=True)):

        def of_class(sums: Tensor, number: int = number) -> list[float]:
            values: list[float] = overlaps(sums)[..., number].tolist()
            return values

        found[name] = (iou, *bootstrap(tallies, of_class, groups=groups))
    return found
