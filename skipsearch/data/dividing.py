"""The splits that a source lacks, drawn with a seed, stratified by class."""

import numpy as np

from skipsearch.data.images import Split
from skipsearch.errors import DataError

# In a source without test images, this share of all images is the test split, drawn with a
# separate seed: another split_seed must not move test images to the training split.
TEST_FRACTION = 0.2
TEST_SEED = 0


def three_splits(
    name: str,
    parts: dict[str, Split],
    class_names: tuple[str, ...],
    split_seed: int,
    validation_fraction: float | None,
) -> tuple[Split, Split, Split, str]:
    """Draw the splits that a source lacks; return train, validation, test, and a remark."""
    train, remark = parts["train"], ""
    share, limit = (0.1, 1.0) if "test" in parts else (0.2, 1.0 - TEST_FRACTION)
    if validation_fraction is not None:
        if "validation" in parts:
            raise DataError(
                f"{name}: validation_fraction {validation_fraction} has no effect, since the "
                "data have their own validation images"
            )
        is_number = isinstance(validation_fraction, int | float)
        if not (is_number and 0 < validation_fraction < limit):
            raise DataError(
                f"{name}: validation_fraction {validation_fraction!r} is not between 0 and "
                f"{limit:g}"
            )
        share = validation_fraction
    places = round(share * len(train))

    if "test" in parts:
        test = parts["test"]
    else:
        train, test = _divide(
            name, train, round(TEST_FRACTION * len(train)), TEST_SEED, class_names
        )
        remark = f"no test split of its own, so a fixed {TEST_FRACTION:.0%} is set aside as one"
    if "validation" in parts:
        validation = parts["validation"]
    else:
        train, validation = _divide(name, train, places, split_seed, class_names)
    return train, validation, test, remark


def _divide(
    name: str, split: Split, places: int, seed: int, class_names: tuple[str, ...]
) -> tuple[Split, Split]:
    """Draw a stratified number of images from a split; return the remaining and the drawn ones."""
    from sklearn.model_selection import train_test_split

    labels = split.labels.numpy()
    order = np.arange(len(split))
    counts = np.bincount(labels, minlength=len(class_names))
    try:
        left, drawn = train_test_split(order, test_size=places, stratify=labels, random_state=seed)
    except ValueError:  # from scikit-learn: a class of one image, or fewer places than classes
        left, drawn = order, order[:0]
    for side in (left, drawn):
        if len(np.unique(labels[side])) < len(class_names):
            least = counts.argmin()
            raise DataError(
                f"{name}: class {class_names[least]!r} has {counts[least]} of {len(split)} images, "
                f"too few to set {places} aside with every class on both sides"
            )
    return (
        Split(split.images[left], split.labels[left]),
        Split(split.images[drawn], split.labels[drawn]),
    )
