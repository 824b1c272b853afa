"""Folds: training and validation images are divided anew for each seed (cross-validation)."""

from __future__ import annotations

import numpy as np

from skipsearch.data.source import Array
from skipsearch.errors import DataError, IndivisibleError, counted
from skipsearch.task import MULTI_LABEL, REGRESSION, Task

FEWEST, MOST = 2, 20
ATTEMPTS = 20  # divisions that are drawn until no fold lacks anything
ORDERS = 50  # maximum number of random orders, of which the most even division is taken
UNITS_DRAWN = 20_000  # groups or images in all these orders together
JITTER = (0.3, 1.0)  # random factor of the size of a unit in an order
TINY = 1e-9  # far below any share; decides between equal folds


def fold_rows(
    count: int, strata: Array | None, groups: Array | None, folds: int, seeds: tuple[int, ...]
) -> list[Array]:
    """Divide images into folds, and return the rows of each, in ascending order.

    The division is random, and stratified by class or label. With groups or several labels, it is
    the most even of some divisions, each of which assigns the groups, or images, in random order to
    the fold that has least of their classes, labels and number of images. scikit-learn's
    StratifiedGroupKFold does the same in a fixed order, so that its seed changes little.

    Args:
        count: Number of images.
        strata: Class (N,) of each image, or labels (N, K) that it has or not; None without both.
        groups: Group (N,) of each image; images of one group are in one fold. None if every image
            is its own group.
        folds: Number of folds.
        seeds: Numbers that determine the division.
    """
    from sklearn.model_selection import KFold, StratifiedKFold

    state = np.random.SeedSequence(seeds)
    if groups is not None or (strata is not None and strata.ndim == 2):
        fold = _best_of_orders(strata, _units(count, groups), folds, np.random.default_rng(state))
        return [np.flatnonzero(fold == number) for number in range(folds)]
    classes = np.zeros(count, dtype=np.int64) if strata is None else strata
    kind = KFold if strata is None else StratifiedKFold
    divided = kind(folds, shuffle=True, random_state=int(state.generate_state(1)[0]))
    return [held for _, held in divided.split(classes, classes)]


def _units(count: int, groups: Array | None) -> Array:
    """Return the number of the group of each image, (N,)."""
    return np.arange(count) if groups is None else np.unique(groups, return_inverse=True)[1]


def _images_of(strata: Array | None, units: Array) -> Array:
    """Return the number of images of each unit: of each class or label, and then of all, (U, K)."""
    count = units.max() + 1
    if strata is None:
        images = np.zeros((count, 0))
    elif strata.ndim == 2:
        images = np.zeros((count, strata.shape[1]))
        np.add.at(images, units, strata)
    else:
        images = np.zeros((count, strata.max() + 1))
        np.add.at(images, (units, strata), 1)
    return np.column_stack([images, np.bincount(units)])


def _best_of_orders(
    strata: Array | None, units: Array, folds: int, rng: np.random.Generator
) -> Array:
    """Return the fold of each image, (N,), of the most even of some random divisions."""
    images = _images_of(strata, units)
    shares = images / np.maximum(images.sum(axis=0), 1)
    best, least = np.zeros(len(images), dtype=np.int64), np.inf
    for _ in range(max(1, min(ORDERS, UNITS_DRAWN // len(images)))):
        fold = _spread(shares, folds, rng)
        sums = np.zeros((folds, images.shape[1]))
        np.add.at(sums, fold, images)
        uneven = float(np.abs(sums - images.sum(axis=0) / folds).sum())
        if uneven < least:
            best, least = fold, uneven
    return best[units]


def _spread(shares: Array, folds: int, rng: np.random.Generator) -> Array:
    """Assign each unit to the fold with which it shares least, large units mostly first.

    Args:
        shares: Share (U, K) of each class or label, and of all images, that a unit has.
        folds: Number of folds.
        rng: Source of the order, and of the choice between equal folds.

    Returns:
        The fold of each unit, (U,).
    """
    sums = np.zeros((folds, shares.shape[1]))
    fold = np.zeros(len(shares), dtype=np.int64)
    ties = rng.uniform(0.0, TINY, (len(shares), folds))
    for unit in np.argsort(-shares.sum(axis=1) * rng.uniform(*JITTER, len(shares))):
        fold[unit] = (sums @ shares[unit] + ties[unit]).argmin()
        sums[fold[unit]] += shares[unit]
    return fold


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
    classes: Array | None,
    groups: Array | None,
    class_names: tuple[str, ...],
    count: int,
) -> None:
    """Check that there are enough images, or groups, of each class.

    Args:
        name: Name of the data, for messages.
        folds: Number of folds.
        classes: Class (N,) of each image; None if images have no class.
        groups: Group (N,) of each image; None if every image is its own group.
        class_names: Name of each class.
        count: Number of images.

    Raises:
        IndivisibleError: If a class has fewer images or groups than there are folds.
    """
    kind = "image" if groups is None else "group"
    units = _units(count, groups)
    among = np.zeros(count, dtype=np.int64) if classes is None else classes
    for number in np.unique(among):
        found = len(np.unique(units[among == number]))
        if found < folds:
            what = "" if classes is None else f"class {class_names[number]!r} has "
            raise IndivisibleError(
                f"{name}: {what}{counted(found, kind)} for training and validation, too few for"
                f" {folds} folds"
            )


def check_division(
    name: str,
    rows: list[Array],
    answers: Array | None,
    task: Task,
    class_names: tuple[str, ...],
) -> None:
    """Check that networks can be trained and judged on each fold of a division.

    Args:
        name: Name of the data, for messages.
        rows: Rows of each fold.
        answers: Class (N,), or labels or targets (N, K), of each image; None for others.
        task: Task of the networks.
        class_names: Name of each class, label or target.

    Raises:
        IndivisibleError: If a fold has less than half or more than twice its share of the images;
            if a fold, or all others together, lack a class or a label, or have a constant target;
            or if all images outside a fold have a label.
    """
    sizes = [len(fold) for fold in rows]
    share = sum(sizes) / len(rows)
    if min(sizes) < share / 2 or max(sizes) > 2 * share:
        raise IndivisibleError(
            f"{name}: in whole groups, {len(rows)} folds would have {min(sizes)} to {max(sizes)}"
            " images: use fewer folds, or divide large groups"
        )
    if answers is None:
        return
    for number, fold in enumerate(rows):
        others = np.delete(np.arange(len(answers)), fold)
        for side, where in ((fold, "in"), (others, "outside")):
            what = "constant" if task.name == REGRESSION.name else "missing"
            lacking = _lacking(answers[side], task, len(class_names))
            if task.name == MULTI_LABEL.name and side is others and not len(lacking):
                what, lacking = "on every image", np.flatnonzero(answers[side].all(0))
            if len(lacking):
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
