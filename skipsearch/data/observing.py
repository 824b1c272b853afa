"""Notes on a data set as networks see it: duplicates, constant channels, classes without pixels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from skipsearch.data.duplicates import find_duplicates, find_in_folds
from skipsearch.data.mapped import chunks
from skipsearch.data.notes import POOL, Notes
from skipsearch.data.source import Array, Read
from skipsearch.data.split import IGNORED, Split
from skipsearch.data.summaries import absent, constant_channels
from skipsearch.data.vector_summaries import unused_labels
from skipsearch.errors import DataError
from skipsearch.plan import Size
from skipsearch.task import MULTI_LABEL, REGRESSION


def observe(name: str, read: Read, splits: Mapping[str, Split], size: Size | None) -> Notes:
    """Return the notes of a source and of its splits.

    Args:
        name: Name of the data, for messages.
        read: Source after reading.
        splits: Splits by name, from the training split to the test split.
        size: Height and width that images were resized to; None if they were not.

    Raises:
        DataError: If no network could learn from them.
    """
    duplicates = find_duplicates(splits)
    if duplicates.distinct["train"] == 1:
        number = len(splits["train"])
        if number == 1:
            raise DataError(f"{name}: 1 training image is left, too few to train on")
        raise DataError(f"{name}: all {number:,} training images are the same picture")
    notes = replace(
        read.notes,
        repeated=duplicates.repeated,
        contradictory=0 if read.task.restores else duplicates.contradictory,
        sizes={part: len(split) for part, split in splits.items()},
        constant=constant_channels(splits["train"].images),
    )
    drawn = len(read.parts) < len(splits)
    if read.task is REGRESSION:
        return replace(notes, answers=REGRESSION.outputs, unstratified=drawn)
    if read.task is MULTI_LABEL:
        unused = unused_labels(name, splits, read.class_names)
        return replace(notes, unused=unused, unstratified=drawn)
    if read.task.restores:
        return notes
    lacking = {part: absent(split.labels, read.class_names) for part, split in splits.items()}
    if read.task.classifies:
        return replace(notes, absent=_some(lacking), absent_from="image")
    _check_labelled(name, lacking, read.class_names, size)
    ignored = sum(
        int((chunk == IGNORED).all(2).all(1).sum())
        for split in splits.values()
        for chunk in chunks(split.labels)
    )
    return replace(
        notes,
        absent=_some(lacking),
        unlabelled=ignored,
        mask_size="" if size is None else str(size),
    )


def observe_folds(notes: Notes, pool: Split, rows: Sequence[Array], test: Split | None) -> Notes:
    """Return notes on folds, in place of those on the splits that they are made of.

    Args:
        notes: Notes on the fixed splits.
        pool: Training and validation images, on the CPU.
        rows: Rows of each fold.
        test: Test split, on the CPU; None if it was removed.
    """
    across, again = find_in_folds(pool, rows, test)
    return replace(
        notes,
        repeated={("test", POOL): again} if again else {},
        across_folds=across,
        sizes={POOL: len(pool)} | ({} if test is None else {"test": len(test)}),
        absent=_of_folds(notes.absent),
        unused=_of_folds(notes.unused),
    )


def absent_in_folds(
    strata: Array, rows: Sequence[Array], class_names: tuple[str, ...]
) -> dict[str, str]:
    """Return the number of folds without a pixel of each class, as ``2 of 5``; none are omitted.

    Args:
        strata: Which classes each mask has, (N, K).
        rows: Rows of each fold.
        class_names: Name of each class.
    """
    lacking = sum(~strata[held].any(axis=0) for held in rows)
    numbers = dict(zip(class_names, np.asarray(lacking).tolist(), strict=True))
    return {name: f"{number} of {len(rows)}" for name, number in numbers.items() if number}


def _some(lacking: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the splits that lack any class."""
    return {part: names for part, names in lacking.items() if names}


def _of_folds(lacking: Mapping[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    """Return the classes or labels that all folds and those that the test split lacks."""
    others = lacking.get("validation", ())
    everywhere = tuple(name for name in lacking.get("train", ()) if name in others)
    found = {POOL: everywhere, "test": lacking.get("test", ())}
    return _some(found)


def _check_labelled(
    name: str,
    lacking: Mapping[str, tuple[str, ...]],
    class_names: tuple[str, ...],
    size: Size | None,
) -> None:
    """Raise an error for a split without a labelled pixel, and for training masks of one class.

    Args:
        name: Name of the data.
        lacking: Classes without a pixel, by name of the split.
        class_names: Name of each class.
        size: Height and width that masks were resized and cropped to; None if they were not.
    """
    where = "" if size is None else f", resized and cropped to {size},"
    hint = "" if size is None else ": give an image_size that keeps labelled pixels"
    for part, names in lacking.items():
        if len(names) == len(class_names):
            raise DataError(
                f"{name}: all pixels of the {part} masks{where} are {IGNORED}, so ignored{hint}"
            )
    if len(lacking["train"]) == len(class_names) - 1:
        (only,) = set(class_names) - set(lacking["train"])
        raise DataError(
            f"{name}: all labelled pixels of the train masks{where} are of class {only!r}, expected"
            f" 2 or more classes{hint}"
        )
