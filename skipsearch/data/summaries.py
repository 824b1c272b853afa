"""Summaries of images: the balance of their classes, mean and deviation of their channels."""

import torch
from torch import Tensor


def balance(labels: Tensor, class_names: tuple[str, ...]) -> str:
    """Describe how far the classes differ in size; empty if they do not."""
    counts = labels.bincount(minlength=len(class_names)).tolist()
    least, most = counts.index(min(counts)), counts.index(max(counts))
    if counts[least] == counts[most]:
        return ""
    return (
        f"unbalanced, {counts[least]} images of class {class_names[least]!r} to {counts[most]} of "
        f"class {class_names[most]!r}"
    )


def mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the exact mean and deviation of each channel in units of 0..1, by counting bytes."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = images[:, channel].flatten().bincount(minlength=256).double()
        share = counts / counts.sum()
        mean = (share * levels).sum()
        means.append(mean.item())
        deviations.append((share * (levels - mean) ** 2).sum().sqrt().item())
    # A constant channel has no deviation to divide by.
    return tuple(means), tuple(std if std > 1e-9 else 1 / 255 for std in deviations)
