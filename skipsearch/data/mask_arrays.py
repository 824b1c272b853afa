"""Arrays of masks in an .npz file: checks of their content, with NumPy code that corrects it."""

from collections.abc import Mapping

import numpy as np

from skipsearch.data.labels import check_names
from skipsearch.data.mask_classes import VALUES, MaskSource, classes_of_masks
from skipsearch.data.source import Array
from skipsearch.errors import DataError

EXPECTED = "expected class numbers (N, H, W)"
OTHERS = ", and the other masks in the same way"
COLOURS = (3, 4)  # numbers of channels of RGB and RGBA


def read_mask_arrays(
    where: str, masks: Mapping[str, Array], names: Array | None
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Convert masks to class numbers.

    Args:
        where: Source of the masks, for messages.
        masks: Masks by name of the array, including "train_masks".
        names: Names of the classes; None if there are none.

    Returns:
        Masks (N, H, W) uint8, and a name for each class.

    Raises:
        DataError: If masks or names are of another kind.
    """
    numbers = {key: _numbers(where, key, array) for key, array in masks.items()}
    source = MaskSource(
        where=where,
        naming="class_names",
        advice=lambda masks: f"save {masks.replace('MASKS', 'train_masks')}{OTHERS}",
    )
    splits = {key: key.removesuffix("_masks") for key in numbers}
    counts = {
        splits[key]: np.stack([np.bincount(mask.ravel(), minlength=VALUES) for mask in array])
        for key, array in numbers.items()
    }
    called = {
        splits[key]: [f"{where}: {key}[{index}]" for index in range(len(array))]
        for key, array in numbers.items()
    }
    given = None if names is None else check_names(where, names)
    return numbers, classes_of_masks(source, counts, called, given)


def _numbers(where: str, key: str, masks: Array) -> Array:
    """Return masks as class numbers (N, H, W), uint8."""
    what = f"{where}: {key} is {masks.dtype} {masks.shape}"
    if masks.dtype.kind not in "biuf":
        raise DataError(f"{what}, {EXPECTED}")
    if masks.ndim == 4:
        raise DataError(f"{what}, {EXPECTED}{_to_numbers(key, masks)}")
    if masks.ndim != 3 or 0 in masks.shape:
        raise DataError(f"{what}, {EXPECTED}, not empty")
    if masks.dtype.kind == "f":
        odd = masks[~np.isfinite(masks) | (masks % 1 != 0)]
        if len(odd):
            line = f": for two classes save ({key} > 0.5).astype('uint8')"
            is_share = bool(np.isfinite(masks).all()) and masks.min() >= 0 and masks.max() <= 1
            raise DataError(f"{what} and holds {odd[0]:g}, {EXPECTED}{line if is_share else ''}")
    low, high = masks.min(), masks.max()
    if low == -1 and high < VALUES - 1:
        raise DataError(
            f"{what} and holds -1, {EXPECTED}, and 255 for ignored pixels: if -1 is ignored, save"
            f" numpy.where({key} < 0, 255, {key}.astype('int64')){OTHERS}"
        )
    if low < 0 or high >= VALUES:
        raise DataError(f"{what} and holds {low if low < 0 else high:g}, {EXPECTED} below 255")
    return masks.astype(np.uint8, copy=False)


def _to_numbers(key: str, masks: Array) -> str:
    """Return the code that converts masks of four axes to three; empty if it is ambiguous."""
    if 1 in (masks.shape[-1], masks.shape[1]):
        one = f"{key}[..., 0]" if masks.shape[-1] == 1 else f"{key}[:, 0]"
        return f": save {one}{OTHERS}"
    for axis in (-1, 1):
        if ((masks == 0) | (masks == 1)).all() and (masks.sum(axis) == 1).all():
            return f": save {key}.argmax({axis}){OTHERS}"
    if masks.shape[-1] in COLOURS:
        colours = len(np.unique(masks.reshape(-1, masks.shape[-1]), axis=0))
        return (
            f", and these are {colours:,} colours: with colours = [(red, green, blue), ...] of the"
            f" classes, save ({key}[..., None, :3] == colours).all(-1).argmax(-1).astype('uint8')"
            f"{OTHERS}"
        )
    return ""
