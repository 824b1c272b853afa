"""Summaries of a data set: the sizes of its classes, the mean and deviation of its channels."""

from collections.abc import Mapping
from math import prod

import torch

from skipsearch.data.mapped import Images, chunks
from skipsearch.data.pixels import full_scale, pieces

CLASSES_SHOWN = 20
UNBALANCED = 1.5  # smallest ratio of the largest to the smallest class that is mentioned


def balance(labels: Images, class_names: tuple[str, ...]) -> str:
    """Describe the smallest and the largest class; empty if they are of similar size.

    Args:
        labels: Labels (N,), or masks (N, H, W).
        class_names: Name of each label.
    """
    counts = _counts(labels, class_names)
    least, most = counts.index(min(counts)), counts.index(max(counts))
    if counts[most] < UNBALANCED * counts[least] or not counts[most]:
        return ""
    if labels.ndim == 3:
        low, high = (share(counts[number], sum(counts)) for number in (least, most))
        return (
            f"unbalanced, {low} of the labelled pixels of class {class_names[least]!r} to {high} of"
            f" class {class_names[most]!r}"
        )
    return (
        f"unbalanced, {counts[least]} images of class {class_names[least]!r} to {counts[most]} of "
        f"class {class_names[most]!r}"
    )


def describe_labels(splits: Mapping[str, Images], class_names: tuple[str, ...]) -> list[str]:
    """Return a line on the smallest class.

    Args:
        splits: Labels (N,) by split.
        class_names: Name of each label.
    """
    counts = {name: _counts(labels, class_names) for name, labels in splits.items()}
    totals = [sum(of_class) for of_class in zip(*counts.values(), strict=True)]
    least = totals.index(min(totals))
    of_least = ", ".join(f"{count[least]:,} {name}" for name, count in counts.items())
    return [f"smallest class: {class_names[least]!r}, {totals[least]:,} images ({of_least})"]


def describe_masks(splits: Mapping[str, Images], class_names: tuple[str, ...]) -> list[str]:
    """Return lines on the pixels of each class and of the smallest one.

    Args:
        splits: Masks (N, H, W) by split.
        class_names: Name of each class.
    """
    counts = {name: _counts(masks, class_names) for name, masks in splits.items()}
    totals = [sum(of_class) for of_class in zip(*counts.values(), strict=True)]
    labelled, pixels = sum(totals), sum(prod(masks.shape) for masks in splits.values())
    ordered = sorted(range(len(totals)), key=lambda number: -totals[number])
    shown = [
        f"{class_names[number]!r} {share(totals[number], labelled)}"
        for number in ordered[:CLASSES_SHOWN]
    ]
    if len(ordered) > CLASSES_SHOWN:
        shown.append(f"and {len(ordered) - CLASSES_SHOWN} more")
    least = ordered[-1]
    of_least = ", ".join(
        f"{share(count[least], sum(count))} {name}" for name, count in counts.items()
    )
    return [
        f"labelled pixels: {', '.join(shown)}",
        f"ignored pixels: {share(pixels - labelled, pixels)}",
        f"smallest class: {class_names[least]!r}, {share(totals[least], labelled)} of the labelled"
        f" pixels ({of_least})",
    ]


def absent(masks: Images, class_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the classes without a pixel in masks (N, H, W)."""
    counts = _counts(masks, class_names)
    return tuple(name for name, number in zip(class_names, counts, strict=True) if not number)


def share(part: int, whole: int) -> str:
    """Return a share of pixels in per cent, as text."""
    percent = 100 * part / whole if whole else 0.0
    return f"{percent:.1f} %" if percent >= 1 or not part else f"{percent:.2g} %"


def _counts(labels: Images, class_names: tuple[str, ...]) -> list[int]:
    """Return the number of images, or pixels, of each class, without ignored pixels."""
    length = max(len(class_names), 256 if labels.ndim == 3 else 0)
    parts = [chunk.flatten().bincount(minlength=length) for chunk in chunks(labels)]
    counts: list[int] = torch.stack(parts).sum(0).tolist()
    return counts[: len(class_names)]


def constant_channels(images: Images) -> tuple[int, ...]:
    """Return the channels with one value in all images, counted from 0."""
    first = images[:1][:, :, :1, :1]
    constant = set(range(images.shape[1]))
    for chunk in chunks(images):
        constant = {n for n in constant if bool((chunk[:, n] == first[:, n]).all())}
        if not constant:
            break  # most images are read once only
    return tuple(sorted(constant))


def mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and deviation of each channel in units of the full scale of the pixels.

    For uint8 they are computed from exact counts. For a constant channel, whose deviation of 0
    cannot be divided by, the deviation is one level. Which channels are constant does not depend on
    the unit of the pixels, see ``constant_channels``.
    """
    means, deviations = _of_bytes(images) if images.dtype == torch.uint8 else _of_numbers(images)
    # Not by their deviations: for one value that is no binary fraction, they are rarely exactly 0.
    for channel in constant_channels(images):
        deviations[channel] = 1 / full_scale(images)
    return tuple(means), tuple(deviations)


def _of_bytes(images: Images) -> tuple[list[float], list[float]]:
    levels = torch.arange(256, dtype=torch.float64) / 255
    channels = range(images.shape[1])
    counted = sum(
        torch.stack([chunk[:, n].flatten().bincount(minlength=256) for n in channels])
        for chunk in chunks(images)
    )
    means, deviations = [], []
    for counts in torch.as_tensor(counted).double():
        share = counts / counts.sum()
        mean = (share * levels).sum()
        means.append(mean.item())
        deviations.append((share * (levels - mean) ** 2).sum().sqrt().item())
    return means, deviations


def _of_numbers(images: Images) -> tuple[list[float], list[float]]:
    number = prod(images.shape) / images.shape[1]
    total = sum(piece.sum((0, 2, 3)) for piece in pieces(images))
    mean = torch.as_tensor(total / number)
    off = [((piece - mean[:, None, None]) ** 2).sum((0, 2, 3)) for piece in pieces(images)]
    deviations = torch.stack(off).sum(0).div(number).sqrt()
    return mean.tolist(), deviations.tolist()
