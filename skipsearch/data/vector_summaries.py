"""Checks and summaries of several labels for each image, and of targets, split by split."""

from collections.abc import Mapping

import torch
from torch import Tensor

from skipsearch.data.split import Split
from skipsearch.data.summaries import CLASSES_SHOWN
from skipsearch.errors import DataError, counted
from skipsearch.task import REGRESSION, Task

LIKE_UNITS = 10  # largest ratio of two deviations in a mean that both take part in


def label_balance(labels: Tensor, names: tuple[str, ...]) -> str:
    """Describe the rarest and the most frequent label of a matrix (N, K)."""
    counts = labels.sum(0).tolist()
    least, most = counts.index(min(counts)), counts.index(max(counts))
    return (
        f"{len(names)} labels, of {counts[least]:,} ({names[least]!r}) to {counts[most]:,}"
        f" ({names[most]!r}) of {len(labels):,} images"
    )


def describe_label_matrices(splits: Mapping[str, Tensor], names: tuple[str, ...]) -> list[str]:
    """Return lines on the number of labels of an image, and on the rarest label.

    Args:
        splits: Labels (N, K) by split.
        names: Name of each label.
    """
    counts = {split: labels.sum(0).tolist() for split, labels in splits.items()}
    totals = [sum(of_label) for of_label in zip(*counts.values(), strict=True)]
    least, images = totals.index(min(totals)), sum(map(len, splits.values()))
    of_least = ", ".join(f"{count[least]:,} {split}" for split, count in counts.items())
    return [
        f"labels of an image: {sum(totals) / images:.2f} on average",
        f"rarest label: {names[least]!r}, {totals[least]:,} images ({of_least})",
    ]


def describe_targets(splits: Mapping[str, Tensor], names: tuple[str, ...]) -> list[str]:
    """Return a line on the values of each target in training, or in folds.

    Args:
        splits: Targets (N, K) by split, that of the training first.
        names: Name of each target.
    """
    where, targets = next(iter(splits.items()))
    where = "in training" if where == "train" else where
    lines = [
        f"{name!r} {where}: mean {values.mean():.6g}, standard deviation"
        f" {values.std(correction=0):.6g}, from {values.min():.6g} to {values.max():.6g}"
        for name, values in zip(names, targets.T, strict=True)
    ]
    more = [f"and {len(lines) - CLASSES_SHOWN} more targets"] * (len(lines) > CLASSES_SHOWN)
    return lines[:CLASSES_SHOWN] + more


def unlike_units(targets: Tensor, names: tuple[str, ...]) -> list[str]:
    """Return a line if the deviations of targets differ so much that one decides a mean error.

    Args:
        targets: Targets (N, K).
        names: Name of each target.
    """
    deviations = targets.double().std(0, correction=0)
    small, large = int(deviations.argmin()), int(deviations.argmax())
    if deviations[large] <= LIKE_UNITS * deviations[small]:
        return []
    return [
        f"note: the error is a mean over targets in their own units, and {names[large]!r} decides"
        f" it: its standard deviation is {deviations[large] / deviations[small]:.3g} times that of"
        f" {names[small]!r}; scale the targets, or choose the metric r2"
    ]


def unused_labels(
    name: str, splits: Mapping[str, Split], names: tuple[str, ...]
) -> dict[str, tuple[str, ...]]:
    """Return the labels that no image of a split has, by name of the split.

    Raises:
        DataError: If no or every training image has a label, or no image of another split has any.
    """
    found = {part: _unused(split.class_labels, names) for part, split in splits.items()}
    everywhere = _unused(1 - splits["train"].class_labels, names)
    for who, those in (("no", found["train"]), ("every", everywhere)):
        if those:
            raise DataError(
                f"{name}: {who} training image has the label {those[0]!r}, which cannot be learnt:"
                " leave it out, or give its images a place in the training split"
            )
    for part, those in found.items():
        if len(those) == len(names):
            raise DataError(f"{name}: no {part} image has a label, expected some")
    return {part: those for part, those in found.items() if those}


LEAST_STD, MOST_STD = 1e-30, 1e30  # of a target
COARSEST = 0.2  # step of float32 at the largest target, in standard deviations


def check_targets(
    name: str, task: Task, splits: Mapping[str, Split], target_names: tuple[str, ...]
) -> None:
    """Check the targets of a regression; other tasks have none.

    Raises:
        DataError: If a target is constant in a split, so that its variance cannot be explained.
    """
    if task.name != REGRESSION.name:
        return
    for part, split in splits.items():
        for target, values in zip(target_names, split.class_labels.T, strict=True):
            if (values == values[0]).all():
                raise DataError(
                    f"{name}: the target {target!r} is {values[0].item():g} for all"
                    f" {counted(len(values), f'{part} image')}, expected different numbers"
                )
    for target, values in zip(target_names, splits["train"].class_labels.T, strict=True):
        std, largest = values.std(correction=0).item(), values.abs().max().item()
        # Outputs in the targets' own units are float32.
        step = largest * torch.finfo(torch.float32).eps
        if not (LEAST_STD < std < MOST_STD and step < std * COARSEST):
            raise DataError(
                f"{name}: the target {target!r} has the standard deviation {std:g} and values up to"
                f" {largest:g}, which float32 cannot resolve: change its offset or unit"
            )


def targets_mean_and_std(task: Task, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of the training targets; empty for other tasks."""
    if task.name != REGRESSION.name:
        return (), ()
    targets = train.class_labels
    return tuple(targets.mean(0).tolist()), tuple(targets.std(0, correction=0).tolist())


def _unused(labels: Tensor, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the labels that no row of a matrix (N, K) has."""
    counts = labels.sum(0).tolist()
    return tuple(name for name, number in zip(names, counts, strict=True) if not number)
