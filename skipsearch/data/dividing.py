"""Drawing the splits that a source lacks, with a seed, stratified by class if images have one."""

import numpy as np

from skipsearch.data.source import Array
from skipsearch.data.split import Split
from skipsearch.errors import DataError

# In a source without test images, this share of all images is the test split, drawn with a
# separate seed: another split_seed must not move test images to the training split.
TEST_FRACTION = 0.2
TEST_SEED = 0


def three_splits(
    name: str,
    parts: dict[str, Split],
    class_names: tuple[str, ...] | None,
    split_seed: int,
    validation_fraction: float | None,
) -> tuple[Split, Split, Split, str]:
    """Draw the splits that a source lacks.

    Args:
        name: Name of the data, for messages.
        parts: Existing splits, including "train".
        class_names: Classes to stratify by; None if images have no class.
        split_seed: Seed of the validation split.
        validation_fraction: Share of validation images; None for the default.

    Returns:
        Train, validation and test split, and a remark on a drawn test split; empty without one.

    Raises:
        DataError: If the fraction is out of range or has no effect, or there are too few images.
    """
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
    name: str, split: Split, places: int, seed: int, class_names: tuple[str, ...] | None
) -> tuple[Split, Split]:
    """Draw a number of images from a split; return the remaining and the drawn ones."""
    from sklearn.model_selection import train_test_split

    order = np.arange(len(split))
    labels = None if class_names is None else split.labels.numpy()
    try:
        left, drawn = train_test_split(order, test_size=places, stratify=labels, random_state=seed)
    except ValueError:  # from scikit-learn: a class of one image, or fewer places than classes
        left, drawn = order, order[:0]
    if class_names is not None:
        _check_classes(name, split.labels.numpy(), (left, drawn), places, class_names)
    elif not (len(left) and len(drawn)):
        raise DataError(f"{name}: {len(split)} images, too few to set {places} aside")
    return (
        Split(split.images[left], split.labels[left]),
        Split(split.images[drawn], split.labels[drawn]),
    )


def _check_classes(
    name: str, labels: Array, sides: tuple[Array, Array], places: int, class_names: tuple[str, ...]
) -> None:
    """Raise an error unless every class is on both sides of a division."""
    for side in sides:
        if len(np.unique(labels[side])) < len(class_names):
            counts = np.bincount(labels, minlength=len(class_names))
            least = counts.argmin()
            raise DataError(
                f"{name}: class {class_names[least]!r} has {counts[least]} of {len(labels)} images,"
                f" too few to set {places} aside with every class on both sides"
            )
