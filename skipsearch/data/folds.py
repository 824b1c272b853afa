"""Folds: training and validation images are divided anew for each seed (cross-validation)."""

from __future__ import annotations

import numpy as np

from skipsearch.data.source import Array
from skipsearch.errors import DataError, counted

FEWEST, MOST = 2, 20


def validation_rows(
    count: int, labels: Array | None, groups: Array | None, folds: int, split_seed: int, seed: int
) -> Array:
    """Return the rows of the fold that is the validation split for a seed, in ascending order.

    The seeds 0..folds - 1 have the folds of one division, so that each image is in one of their
    validation splits. The next ``folds`` seeds have those of another random division, and so on
    (repeated k-fold cross-validation, stratified by class if images have one).

    Args:
        count: Number of images.
        labels: Class (N,) of each image; None if images have no class.
        groups: Group (N,) of each image; images of one group are in one fold. None if every image
            is its own group.
        folds: Number of folds.
        split_seed: Seed of the divisions.
        seed: Seed of a training.
    """
    from sklearn.model_selection import KFold, StratifiedGroupKFold, StratifiedKFold

    division, fold = divmod(seed, folds)
    state = int(np.random.SeedSequence([split_seed, division]).generate_state(1)[0])
    classes = np.zeros(count, dtype=np.int64) if labels is None else labels
    if groups is not None:
        kind = StratifiedGroupKFold
    else:
        kind = KFold if labels is None else StratifiedKFold
    divided = kind(folds, shuffle=True, random_state=state)
    rows: Array = [held for _, held in divided.split(classes, classes, groups)][fold]
    return rows


def check_count(folds: int) -> None:
    """Check a number of folds.

    Raises:
        DataError: If it is out of range.
    """
    if isinstance(folds, bool) or not isinstance(folds, int) or not FEWEST <= folds <= MOST:
        raise DataError(f"folds: {folds!r} is not a whole number from {FEWEST} to {MOST}")


def check_folds(
    name: str,
    folds: int,
    labels: Array | None,
    groups: Array | None,
    class_names: tuple[str, ...],
    count: int,
) -> None:
    """Check that images can be divided into folds that each have every class.

    Args:
        name: Name of the data, for messages.
        folds: Number of folds.
        labels: Class (N,) of each image; None if images have no class.
        groups: Group (N,) of each image; None if every image is its own group.
        class_names: Name of each class.
        count: Number of images.

    Raises:
        DataError: If the number is out of range, or a class has too few images or groups.
    """
    check_count(folds)
    kind = "image" if groups is None else "group"
    units = np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]
    classes = np.zeros(count, dtype=np.int64) if labels is None else labels
    for number in np.unique(classes):
        found = len(np.unique(units[classes == number]))
        if found < folds:
            what = "" if labels is None else f"class {class_names[number]!r} has "
            raise DataError(
                f"{name}: {what}{counted(found, kind)} for training and validation, too few for"
                f" {folds} folds"
            )
