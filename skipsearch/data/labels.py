"""Conversion of labels of any usual kind to integers from 0 on, and the names of the classes."""

from collections.abc import Mapping

import numpy as np

from skipsearch.data.notes import TO_PREDICT
from skipsearch.data.source import Array
from skipsearch.errors import DataError, closest, counted

MOST_NUMBERED = 20  # classes with whole numbers for names; more may be numbers to predict


def read_labels(
    where: str, labels: Mapping[str, Array], names: Array | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Convert labels to integers.

    Args:
        where: Source of the labels, for messages.
        labels: Labels by name of the array, including "train_labels".
        names: Names of the classes; None if there are none.

    Returns:
        Labels (N,) as integers, and a name for each class.

    Raises:
        DataError: If labels or names are of another kind.
    """
    flat = {key: _flat(where, key, array) for key, array in labels.items()}
    kinds = {key: "text" if array.dtype.kind == "U" else "number" for key, array in flat.items()}
    for key, kind in kinds.items():
        if kind != kinds["train_labels"]:
            raise DataError(
                f"{where}: {key} is {flat[key].dtype} and train_labels "
                f"{flat['train_labels'].dtype}, expected the same kind"
            )
    given = None if names is None else check_names(where, names)
    found = np.unique(flat["train_labels"])
    if kinds["train_labels"] == "text":
        class_names = given or tuple(found.tolist())
        numbers = {key: _numbers(where, key, array, class_names) for key, array in flat.items()}
    else:
        class_names = given or tuple(str(number) for number in range(len(found)))
        numbers = {key: _whole(where, key, array) for key, array in flat.items()}
    if len(class_names) < 2:
        hint = f"; {TO_PREDICT}" if given is None and kinds["train_labels"] == "number" else ""
        raise DataError(
            f"{where}: {counted(len(class_names), 'class', 'classes')}, expected 2 or more{hint}"
        )
    if kinds["train_labels"] == "number":
        _check_range(where, numbers, len(class_names), may_be_targets=given is None)
    return numbers, class_names


def _flat(where: str, key: str, labels: Array) -> Array:
    """Return labels (N,) of numbers or texts."""
    what = f"{where}: {key} is {labels.dtype} {labels.shape}"
    if labels.dtype.kind == "S":
        raise DataError(f"{what}, expected texts or integers: save {key}.astype(str)")
    if labels.dtype.kind not in "biufU":
        raise DataError(f"{what}, expected integers (N,)")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind != "U" and is_one_hot(labels):
        raise DataError(
            f"{what}, expected integers (N,): every row has exactly one 1, so each image has one"
            f" class: save {key}.argmax(1)"
        )
    if labels.ndim == 4 and 1 in (labels.shape[1], labels.shape[3]):
        one = "[:, 0]" if labels.shape[1] == 1 else "[..., 0]"
        raise DataError(f"{what}, expected masks (N, H, W): give {key}{one}")
    if labels.ndim != 1:
        raise DataError(
            f"{what}, expected integers (N,): one label for each image; several labels are a matrix"
            " (N, K) of 0 and 1, and numbers to predict are floats, or have target_names"
        )
    if not len(labels):
        raise DataError(f"{what}, expected integers (N,), not empty")
    return labels


def may_be_targets(labels: Array) -> bool:
    """Return whether labels may be numbers to predict: floats, or many whole numbers."""
    return labels.dtype.kind == "f" or (
        labels.dtype.kind in "iu" and len(np.unique(labels)) > MOST_NUMBERED
    )


def is_one_hot(labels: Array) -> bool:
    """Return whether every row of a matrix has exactly one 1, and otherwise 0."""
    return bool(((labels == 0) | (labels == 1)).all() and (labels.sum(1) == 1).all())


def check_names(where: str, names: Array, key: str = "class_names") -> tuple[str, ...]:
    """Return the names of the classes; raise an error unless they are different texts.

    Args:
        where: Source of the names, for messages.
        names: Names.
        key: Name of their array.
    """
    each = key.removesuffix("_names")
    if names.ndim != 1 or names.dtype.kind != "U":
        line = f": save {key}.astype(str)" if names.ndim == 1 else ""
        raise DataError(
            f"{where}: {key} is {names.dtype} {names.shape}, expected one text for each"
            f" {each}{line}"
        )
    texts: list[str] = names.tolist()
    for text in texts:
        if texts.count(text) > 1:
            raise DataError(f"{where}: {key} has {text!r} twice, expected one for each {each}")
    return tuple(texts)


def _numbers(where: str, key: str, labels: Array, class_names: tuple[str, ...]) -> Array:
    """Return text labels as indices of the class names."""
    numbers = {name: number for number, name in enumerate(class_names)}
    texts, inverse = np.unique(labels, return_inverse=True)
    for text in texts.tolist():
        if text not in numbers:
            raise DataError(f"{where}: {key}: {no_class(text, class_names)}")
    return np.array([numbers[text] for text in texts.tolist()])[inverse]


def _whole(where: str, key: str, labels: Array) -> Array:
    """Return numbers as integers; raise an error for fractions."""
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all() or (labels % 1 != 0).any():
            odd = labels[~np.isfinite(labels) | (labels % 1 != 0)][0]
            raise DataError(
                f"{where}: {key} is {labels.dtype} {labels.shape} and holds {odd:g}, expected "
                f"integers (N,); or {TO_PREDICT}"
            )
        # Values beyond int64 are clipped; they are out of range, which is checked later.
        return np.clip(labels.astype(np.float64), -(2.0**62), 2.0**62).astype(np.int64)
    return labels.astype(np.int64) if labels.dtype.kind == "b" else labels


def _check_range(
    where: str, labels: Mapping[str, Array], classes: int, *, may_be_targets: bool
) -> None:
    """Raise an error for labels that are not 0..classes - 1."""
    found = np.unique(labels["train_labels"])
    for key, array in labels.items():
        for label in (array.min(), array.max()):
            if 0 <= label < classes:
                continue
            ways = []
            if len(found) == classes and np.isin(array, found).all():
                ways.append(
                    "save numpy.searchsorted(numpy.unique(train_labels), labels) for the labels of"
                    " each split"
                )
            if may_be_targets:
                ways.append(TO_PREDICT)
            raise DataError(
                f"{where}: {key}: label {label} is not in 0..{classes - 1}, one for each of the "
                f"{classes} classes{': ' if ways else ''}{'; or '.join(ways)}"
            )


def no_class(name: str, class_names: tuple[str, ...]) -> str:
    """Return a message that a name is not a class, with the most similar class."""
    near = closest(name, class_names)
    hint = "" if near is None else f" (did you mean {near!r}?)"
    return f"{name!r} is not a class of the training images{hint}"
