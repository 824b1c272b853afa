"""Folds: training and validation images are divided anew for each seed (cross-validation)."""

from __future__ import annotations

import numpy as np

from skipsearch.data.source import Array
from skipsearch.errors import DataError, IndivisibleError, counted
from skipsearch.task import MULTI_LABEL, REGRESSION, Task

FEWEST, MOST = 2, 20


def fold_rows(
    count: int, labels: Array | None, groups: Array | None, folds: int, seeds: tuple[int, ...]
) -> list[Array]:
    """Divide images into folds, and return the rows of each, in ascending order.

    The division is random, and stratified by class if images have one.

    Args:
        count: Number of images.
        labels: Class (N,) of each image; None if images have no class.
        groups: Group (N,) of each image; images of one group are in one fold. None if every image
            is its own group.
        folds: Number of folds.
        seeds: Numbers that determine the division.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    state = int(np.random.SeedSequence(seeds).generate_state(1)[0])
    classes = np.zeros(count, dtype=np.int64) if labels is None else labels
    if groups is not None:
        kind = StratifiedGroupKFold
    else:
        kind = KFold if labels is None else StratifiedKFold
    divided = kind(folds, shuffle=True, random_state=state)
    return [held for _, held in divided.split(classes, classes, groups)]


def check_count(folds: int) -> None:
    """Check a number of folds.

    Raises:
        DataError: If it is out of range.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or not FEWEST <= folds <= MOST:
        raise DataError(f"folds: {folds!r} is not a whole number from {FEWEST} to {MOST}")


def check_units(
    name: str,
    folds: int,
    labels: Array | None,
    groups: Array | None,
    class_names: tuple[str, ...],
    count: int,
) -> None:
    """Check that there are enough images, or groups, of each class.

    Args:
        name: Name of the data, for messages.
        folds: Number of folds.
        labels: Class (N,) of each image; None if images have no class.
        groups: Group (N,) of each image; None if every image is its own group.
        class_names: Name of each class.
        count: Number of images.

    Raises:
        IndivisibleError: If a class has fewer images or groups than there are folds.
    """
    kind = "image" if groups is None else "group"
    units = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    classes = np.zeros(count, dtype=np.int64) if labels is None else labels
    for number in np.unique(classes):
        found = len(np.unique(units[classes == number]))
        if found < folds:
            what = "" if labels is None else f"class {class_names[number]!r} has "
            raise IndivisibleError(
                f"{name}: {what}{counted(found, kind)} for training and validation, too few for"
                f" {folds} folds"
            )


def check_division(
    name: str,
    rows: list[Array],
    answers: Array,
    task: Task,
    class_names: tuple[str, ...],
) -> None:
    """Check that networks can be trained and judged on each fold of a division.

    Args:
        name: Name of the data, for messages.
        rows: Rows of each fold.
        answers: Class (N,), or labels or targets (N, K), of each image.
        task: Task of the networks.
        class_names: Name of each class, label or target.

    Raises:
        IndivisibleError: If a fold, or all others together, lack a class or a label, or have a
            constant target.
    """
    for number, fold in enumerate(rows):
        others = np.delete(np.arange(len(answers)), fold)
        for side, where in ((fold, "in"), (others, "outside")):
            lacking = _lacking(answers[side], task, len(class_names))
            if len(lacking):
                what = "constant" if task.name == REGRESSION.name else "missing"
                raise IndivisibleError(
                    f"{name}: the {task.output} {class_names[lacking[0]]!r} is {what} {where} fold"
                    f" {number + 1} of {len(rows)}: use fewer folds, or leave the {task.output} out"
                )


def _lacking(answers: Array, task: Task, count: int) -> Array:
    """Return the classes or labels that no image has, or the constant targets."""
    if task.classifies:
        return np.flatnonzero(np.bincount(answers, minlength=count) == 0)
    if task.name == MULTI_LABEL.name:
        return np.flatnonzero(~answers.astype(bool).any(0))
    return np.flatnonzero(np.ptp(answers, axis=0) == 0)
