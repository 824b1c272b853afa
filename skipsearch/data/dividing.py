"""Drawing the splits that a source lacks, with a seed, stratified by class if images have one."""

from typing import NamedTuple

import numpy as np

from skipsearch.data.source import Array
from skipsearch.data.split import Split
from skipsearch.errors import DataError, IndivisibleError, counted

# In a source without test images, this share of all images is the test split, drawn with a
# separate seed: another split_seed must not move test images to the training split.
TEST_FRACTION = 0.2
TEST_SEED = 0
ORDERS = 200  # random orders of the groups, of which one is taken


class Splits(NamedTuple):
    """The three splits of a data set.

    Attributes:
        train: Training split.
        validation: Validation split.
        test: Test split.
        remark: Remark on a drawn test split and on groups; empty without both.
        drawn: Whether the validation split was drawn from the training images.
        groups: Group of each image of the training split and then of the drawn validation split;
            None if every image is its own group.
        test_groups: Group of each image of a drawn test split; None otherwise, and if every image
            is its own group.
    """

    train: Split
    validation: Split
    test: Split
    remark: str
    drawn: bool
    groups: Array | None
    test_groups: Array | None


def three_splits(
    name: str,
    parts: dict[str, Split],
    class_names: tuple[str, ...] | None,
    split_seed: int,
    validation_fraction: float | None,
    groups: Array | None = None,
) -> Splits:
    """Draw the splits that a source lacks.

    Args:
        name: Name of the data, for messages.
        parts: Existing splits, including "train".
        class_names: Classes to stratify by; None if images have no class.
        split_seed: Seed of the validation split.
        validation_fraction: Share of validation images; None for the default.
        groups: Group of each training image, (N,); images of one group stay in one split. None if
            every image is its own group.

    Raises:
        IndivisibleError: If the training images lack a class, or a drawn split would.
        DataError: If the fraction is out of range or has no effect, or there are too few images.
    """
    train, remark, test_groups = parts["train"], "", None
    if class_names is not None:
        _check_learnable(name, train.class_labels.numpy(), class_names)
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
    if groups is not None and {"validation", "test"} <= parts.keys():
        raise DataError(
            f"{name}: groups have no effect, since the data have their own validation and test"
            " images"
        )
    places = round(share * len(train))

    if "test" in parts:
        test = parts["test"]
    else:
        aside = round(TEST_FRACTION * len(train))
        train, test, groups, test_groups = _divide(
            name, train, aside, TEST_SEED, class_names, groups
        )
        share = len(test) / (len(train) + len(test))
        remark = f"no test split of its own, so a fixed {share:.0%} is set aside as one"
    if "validation" in parts:
        validation = parts["validation"]
    else:
        train, validation, groups, held = _divide(
            name, train, places, split_seed, class_names, groups
        )
        if groups is not None and held is not None:
            groups = np.concatenate([groups, held])
    if groups is not None:
        remark = "; ".join(filter(None, [remark, "images of one group are in one split"]))
    drawn = "validation" not in parts
    return Splits(train, validation, test, remark, drawn, groups, test_groups)


def _check_learnable(name: str, labels: Array, class_names: tuple[str, ...]) -> None:
    """Raise an error unless every class has a training image."""
    counts = np.bincount(labels, minlength=len(class_names))
    if not counts.all():
        raise IndivisibleError(
            f"{name}: no training image has the class {class_names[counts.argmin()]!r}, which"
            " cannot be learnt: leave it out, or add images of it"
        )


def _divide(
    name: str,
    split: Split,
    places: int,
    seed: int,
    class_names: tuple[str, ...] | None,
    groups: Array | None,
) -> tuple[Split, Split, Array | None, Array | None]:
    """Draw a number of images from a split.

    Returns:
        The remaining images, the drawn ones, and the groups of both. Of whole groups half to twice
        the requested number is drawn.
    """
    from sklearn.model_selection import train_test_split

    order = np.arange(len(split))
    labels = None if class_names is None else split.class_labels.numpy()
    if groups is not None:
        left, drawn = _divide_groups(labels, groups, places, seed)
        _check_groups(name, labels, groups, drawn, places, class_names)
    else:
        try:
            left, drawn = train_test_split(
                order, test_size=places, stratify=labels, random_state=seed
            )
        except ValueError:  # from scikit-learn: a class of one image, or fewer places than classes
            left, drawn = order, order[:0]
    if class_names is not None:
        _check_classes(name, split.class_labels.numpy(), (left, drawn), places, class_names)
    elif not (len(left) and len(drawn)):
        raise DataError(f"{name}: {len(split)} images, too few to set {places} aside")
    return (
        split.at(left),
        split.at(drawn),
        None if groups is None else groups[left],
        None if groups is None else groups[drawn],
    )


def _divide_groups(
    labels: Array | None, groups: Array, places: int, seed: int
) -> tuple[Array, Array]:
    """Return the indices of the remaining and the drawn images, of whole groups each.

    Of several random orders of the groups, it takes the one whose first groups, with about as many
    images as places, have every class on both sides and come nearest to the shares of the
    classes.
    """
    _, group = np.unique(groups, return_inverse=True)
    classes = np.zeros(len(group), dtype=np.int64) if labels is None else labels
    sizes, whole = np.bincount(group), np.bincount(classes)
    rng = np.random.default_rng(seed)
    best, least = np.zeros(len(group), dtype=bool), np.inf
    for _ in range(ORDERS):
        order = rng.permutation(len(sizes))
        first = np.abs(np.cumsum(sizes[order]) - places).argmin() + 1
        taken = np.isin(np.arange(len(sizes)), order[:first])
        drawn = np.bincount(classes[taken[group]], minlength=len(whole))
        off = np.abs(drawn - whole * places / len(group)).sum()
        off += len(group) * int(((drawn == 0) | (drawn == whole)).sum())
        if off < least:
            best, least = taken[group], off
    return np.flatnonzero(~best), np.flatnonzero(best)


def _check_groups(
    name: str,
    labels: Array | None,
    groups: Array,
    drawn: Array,
    places: int,
    class_names: tuple[str, ...] | None,
) -> None:
    """Raise an error if whole groups leave a class on one side, or are far from the places."""
    if labels is not None and class_names is not None:
        whole = np.bincount(labels, minlength=len(class_names))
        aside = np.bincount(labels[drawn], minlength=len(class_names))
        for number in np.flatnonzero((aside == 0) | (aside == whole)):
            count = counted(len(np.unique(groups[labels == number])), "group")
            raise IndivisibleError(
                f"{name}: class {class_names[number]!r} has images in {count}, too few to set"
                f" {places} of {counted(len(labels), 'image')} aside, in whole groups and with"
                " every class on both sides"
            )
    if not places / 2 <= len(drawn) <= 2 * places:
        largest = np.unique(groups, return_counts=True)[1].max()
        raise DataError(
            f"{name}: {counted(len(np.unique(groups)), 'group')}, the largest of"
            f" {counted(int(largest), 'image')}: whole groups near to the {places} images to set"
            f" aside hold {len(drawn)}"
        )


def _check_classes(
    name: str,
    labels: Array,
    sides: tuple[Array, Array],
    places: int,
    class_names: tuple[str, ...],
) -> None:
    """Raise an error unless every class is on both sides of a division."""
    whole = np.bincount(labels, minlength=len(class_names))
    for side in sides:
        if len(np.unique(labels[side])) < len(class_names):
            least = whole.argmin()
            raise IndivisibleError(
                f"{name}: class {class_names[least]!r} has {whole[least]} of {len(labels)} images,"
                f" too few to set {places} aside with every class on both sides"
            )
