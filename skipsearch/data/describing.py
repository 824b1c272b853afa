"""Sentences about a data set: its source in one, and its summary in a few."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skipsearch.data.memory import shown_bytes
from skipsearch.data.notes import Notes
from skipsearch.data.pixels import pixel_type
from skipsearch.data.source import Read
from skipsearch.data.split import Split
from skipsearch.data.summaries import balance, describe_labels, describe_masks
from skipsearch.data.vector_summaries import (
    describe_label_matrices,
    describe_targets,
    label_balance,
    unlike_units,
)
from skipsearch.errors import escaped
from skipsearch.plan import Size
from skipsearch.task import CLASSIFICATION, MULTI_LABEL, REGRESSION, SEGMENTATION, Task

BALANCE: Mapping[str, Callable[[Any, tuple[str, ...]], str]] = {
    CLASSIFICATION.name: balance,
    SEGMENTATION.name: balance,
    MULTI_LABEL.name: label_balance,
}
DESCRIBE: Mapping[str, Callable[[Any, tuple[str, ...]], list[str]]] = {
    CLASSIFICATION.name: describe_labels,
    SEGMENTATION.name: describe_masks,
    MULTI_LABEL.name: describe_label_matrices,
    REGRESSION.name: describe_targets,
}

SAID_FROM = 2**28  # bytes of images in memory from which the summary mentions them


def origin_of(read: Read, labels: Any, division: str, resized_from: Size | None) -> str:
    """Return the origin of a data set in one sentence.

    Args:
        read: Source after reading.
        labels: Labels of its training images, after resizing.
        division: Clause on how it was divided.
        resized_from: Height and width of the images before; None if they keep them.
    """
    clauses = [read.source, division]
    if read.task.name in BALANCE:
        clauses.append(BALANCE[read.task.name](labels, read.class_names))
    if resized_from is not None:
        clauses.append(f"resized from {resized_from.height}x{resized_from.width} pixels")
    return escaped("; ".join(filter(None, clauses)))


def summary_of(
    name: str,
    splits: Mapping[str, Split],
    task: Task,
    class_names: tuple[str, ...],
    *,
    sigma: float,
    place: str,
    folds: Sequence[int] | None,
    notes: Notes,
) -> str:
    """Return a summary of a few lines.

    Args:
        name: Name of the data set.
        splits: Splits by name, that of the training images first.
        task: Task of the networks.
        class_names: Name of each class, label or target.
        sigma: Standard deviation of the noise that denoising removes, in grey levels.
        place: Where the images lie, in a sentence; empty for memory without a cache.
        folds: Number of images of each fold; None for a fixed validation split.
        notes: Notes on what was skipped or looks wrong.
    """
    images, classes = next(iter(splits.values())).images, len(class_names)
    form, pixels = f"{images.shape[1]} x {Size(*images.shape[2:])}", pixel_type(images)
    form += "" if pixels == "uint8" else f", {pixels}"
    what = [f"{classes} {task.output if classes == 1 else task.outputs}"]
    if task.restores:
        what = [task.name, f"sigma {sigma:g}"]
    elif not task.classifies:
        what = [task.name, *what]
    lines = [
        f"data {name}: {', '.join(what)}, images of {form}",
        f"images: {', '.join(f'{len(split):,} {name}' for name, split in splits.items())}",
    ]
    if task.restores:
        lines.append(f"noise: normal, sigma {sigma:g} of 255 grey levels")
    else:
        labels: dict[str, Any] = {name: split.labels for name, split in splits.items()}
        lines += DESCRIBE[task.name](labels, class_names)
        if task.metric.is_error:
            lines += unlike_units(next(iter(labels.values())), class_names)
    size = sum(split.nbytes for split in splits.values())
    if place:
        lines.append(f"place: {place}")
    elif size >= SAID_FROM:
        where = f"in memory on {images.device}"
        lines.append(f"place: {shown_bytes(size)} {where} and in each worker of a search")
    if folds is not None:
        of_each = f"{min(folds):,}" + f" to {max(folds):,}" * (min(folds) < max(folds))
        lines.append(
            f"{len(folds)} folds of {of_each} images: each is the validation split of another"
            " seed, and the others are its training split"
        )
    if left_out := notes.left_out():
        lines.append(f"left out: {left_out}")
    lines += [f"note: {warning}" for warning in notes.warnings()]
    return "\n".join(map(escaped, lines))
