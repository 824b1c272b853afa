"""Several labels for each image as a 0/1 matrix, and numbers to predict: recognition and checks."""

from collections.abc import Mapping

import numpy as np

from skipsearch.data.labels import check_names, is_one_hot
from skipsearch.data.source import Array
from skipsearch.errors import DataError, counted
from skipsearch.task import CLASSIFICATION, MULTI_LABEL, REGRESSION, Task

CLASS_NAMES, TARGET_NAMES = "class_names", "target_names"


def task_of(where: str, labels: Array, names: Array | None, target_names: Array | None) -> Task:
    """Return the task that the training labels are for.

    A matrix (N, K) of 0 and 1, with K > 1, has several labels for each image, unless every row has
    exactly one 1, as of one class. Other matrices of floating-point numbers with K > 1 are targets,
    and so are numbers (N,) or (N, 1) that are not all whole. Whole numbers (N,) or (N, 1) are
    classes, whatever their type, as for ``type_of_target`` in scikit-learn. Names of targets make
    numbers of any kind targets, and names of classes make them classes or labels.

    Args:
        where: Source of the labels, for messages.
        labels: Labels of the training images.
        names: Names of the classes or labels; None if there are none.
        target_names: Names of the targets; None if there are none.

    Raises:
        DataError: If there are both kinds of names.
    """
    if names is not None and target_names is not None:
        raise DataError(f"{where}: both {CLASS_NAMES} and {TARGET_NAMES}, expected one of them")
    if target_names is not None:
        return REGRESSION
    if labels.dtype.kind not in "biuf" or not labels.size:
        return CLASSIFICATION
    if labels.ndim == 2 and labels.shape[1] > 1:
        if ((labels == 0) | (labels == 1)).all():
            return CLASSIFICATION if is_one_hot(labels) else MULTI_LABEL
        is_matrix_of_numbers = labels.dtype.kind == "f" and names is None
        return REGRESSION if is_matrix_of_numbers else CLASSIFICATION
    if labels.ndim > 2 or labels.dtype.kind != "f" or names is not None:
        return CLASSIFICATION
    are_whole = (labels[np.isfinite(labels)] % 1 == 0).all()
    return CLASSIFICATION if are_whole else REGRESSION


def read_label_matrices(
    where: str, labels: Mapping[str, Array], names: Array | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Check matrices of labels, and return them with the name of each label.

    Args:
        where: Source of the labels, for messages.
        labels: Labels by name of the array, including "train_labels".
        names: Names of the labels; None if there are none.

    Returns:
        Matrices (N, K), uint8, each number 0 or 1.

    Raises:
        DataError: If a matrix has other numbers, or another number of labels.
    """
    count = labels["train_labels"].shape[1]
    for key, array in labels.items():
        what = f"{where}: {key} is {array.dtype} {array.shape}"
        if array.ndim != 2 or array.shape[1] != count or array.dtype.kind not in "biuf":
            raise DataError(f"{what}, expected a matrix (N, {count}) of 0 and 1 as train_labels")
        if not ((array == 0) | (array == 1)).all():
            raise DataError(f"{what} and holds other numbers than 0 and 1, unlike train_labels")
    found = {key: array.astype(np.uint8) for key, array in labels.items()}
    return found, _names(where, CLASS_NAMES, names, tuple(map(str, range(count))))


def read_targets(
    where: str, targets: Mapping[str, Array], names: Array | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Check numbers to predict, and return them with the name of each target.

    Args:
        where: Source of the targets, for messages.
        targets: Numbers (N,) or (N, K) by name of the array, including "train_labels".
        names: Names of the targets; None if there are none.

    Returns:
        Numbers (N, K), float64.

    Raises:
        DataError: If they are no numbers, not finite, or of another shape.
    """
    shape = targets["train_labels"].shape[1:]
    found = {}
    for key, array in targets.items():
        what = f"{where}: {key} is {array.dtype} {array.shape}"
        if array.dtype.kind not in "biuf" or array.ndim not in (1, 2) or not array.size:
            raise DataError(f"{what}, expected numbers to predict, (N,) or (N, K)")
        if array.shape[1:] != shape:
            of_train = targets["train_labels"].shape
            raise DataError(f"{what} and train_labels {of_train}, expected as many targets")
        numbers = array.reshape(len(array), -1).astype(np.float64)
        if not np.isfinite(numbers).all():
            row, column = np.argwhere(~np.isfinite(numbers))[0]
            raise DataError(
                f"{what} and holds {numbers[row, column]:g} (row {row}), expected finite numbers:"
                " leave out such images"
            )
        found[key] = numbers
    count = found["train_labels"].shape[1]
    numbered = tuple(f"target {number}" for number in range(count))
    return found, _names(where, TARGET_NAMES, names, numbered if count > 1 else ("target",))


def _names(where: str, key: str, names: Array | None, numbered: tuple[str, ...]) -> tuple[str, ...]:
    """Return the given names, after checks; the numbered ones if there are none."""
    if names is None:
        return numbered
    given = check_names(where, names, key)
    if len(given) != len(numbered):
        raise DataError(
            f"{where}: {key} has {counted(len(given), 'name')}, expected {len(numbered)}, one for"
            " each column of train_labels"
        )
    return given
