"""The classes of a data set, from the values of all its masks; other values raise an error."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skipsearch.data.source import Array
from skipsearch.data.split import IGNORED
from skipsearch.errors import DataError, counted

VALUES = 256  # of a byte
MOST_UNNAMED = 64  # more values than this look like grey levels, unless the classes have names
SHOWN = 8  # values in a message
BINARY_SHARE = 0.8  # minimum share of 0 and 255 in masks of two grey levels with blurred edges


@dataclass(frozen=True, kw_only=True)
class MaskSource:
    """Text for messages about masks.

    Attributes:
        where: Origin of the masks.
        naming: Name of the file or array that may hold the names of the classes.
        advice: Function from an expression in ``MASKS``, an array, to the advice to save it.
    """

    where: str
    naming: str
    advice: Callable[[str], str]


def classes_of_masks(
    source: MaskSource,
    counts: Mapping[str, Array],
    called: Mapping[str, Sequence[object]],
    names: Sequence[str] | None,
) -> tuple[str, ...]:
    """Return the names of the classes, after checks of all values.

    Args:
        source: Text for messages.
        counts: Number of pixels of each value in each mask, (N, 256), by split.
        called: Name of each mask in messages, by split.
        names: Given names of the classes; None for numbers.

    Raises:
        DataError: If a value is not a class, or the train masks have fewer than two classes.
    """
    where = source.where
    total = counts["train"].sum(0)
    if not total[:IGNORED].any():
        raise DataError(f"{where}: all pixels of the train masks are {IGNORED}, so ignored")
    _check_two_levels(source, total, is_named=names is not None)
    values = np.flatnonzero(total[:IGNORED]).tolist()
    if len(values) == 1:
        raise DataError(
            f"{where}: all labelled pixels of the train masks are {values[0]}, expected 2 or more"
            " classes"
        )
    if names is None:
        _check_numbering(source, values)
        names, known = [str(number) for number in values], "of the train masks"
    elif not 2 <= len(names) < VALUES:
        raise DataError(
            f"{where}: {counted(len(names), 'class', 'classes')}, expected 2 to {VALUES - 1}"
        )
    else:
        known = f"in {source.naming}"
    for split, of_split in counts.items():
        _check_values(called[split], of_split, len(names), known)
    return tuple(names)


def _check_two_levels(source: MaskSource, total: Array, *, is_named: bool) -> None:
    """Raise an error for masks of black and white."""
    black, white, between = total[0], total[IGNORED], total[1:IGNORED]
    if not (black and white):
        return
    levels = int((between > 0).sum())
    are_classes = is_named or (levels <= MOST_UNNAMED and between[:levels].all())
    if levels and (are_classes or black + white < BINARY_SHARE * total.sum()):
        return
    edges = " with blurred edges" if levels else ""
    binary = source.advice("(MASKS > 127).astype('uint8')")
    raise DataError(
        f"{source.where}: masks of 0 and {IGNORED}{edges}, where {IGNORED} would be ignored: for"
        f" two classes {binary}"
    )


def _check_numbering(source: MaskSource, values: list[int]) -> None:
    """Raise an error unless values without names are consecutive class numbers from 0 on."""
    found = ", ".join(map(str, values[:SHOWN])) + (", ..." if len(values) > SHOWN else "")
    if len(values) > MOST_UNNAMED:
        raise DataError(
            f"{source.where}: {len(values)} values in the train masks ({found}), as of grey levels:"
            f" if they are classes, name all in {source.naming}"
        )
    if values != list(range(len(values))):
        renumbered = source.advice(
            f"numpy.where(MASKS == {IGNORED}, {IGNORED}, numpy.searchsorted({values}, MASKS))"
            ".astype('uint8')"
        )
        raise DataError(
            f"{source.where}: the train masks hold {found}, expected class numbers from 0 on, none"
            f" left out: name all classes in {source.naming}, or {renumbered}"
        )


def _check_values(called: Sequence[object], counts: Array, classes: int, known: str) -> None:
    """Raise an error for the first mask with a value that is not a class."""
    unknown = counts[:, classes:IGNORED]
    masks = np.flatnonzero(unknown.any(1))
    if not len(masks):
        return
    first = masks[0]
    value = classes + int(unknown[first].argmax())
    pixels = counted(int(counts[first, value]), "pixel")
    others = f", and {counted(len(masks) - 1, 'mask')} more" if len(masks) > 1 else ""
    raise DataError(
        f"{called[first]}: value {value} ({pixels}{others}) is not in 0..{classes - 1}, one for"
        f" each of the {classes} classes {known}, and not {IGNORED} for ignored pixels"
    )
