"""Reading of mask files as class numbers; errors give the code that converts other kinds of masks.

Class numbers are the values of a grey mask or of an .npy file, or the indices of a palette mask.
Masks in colours, or in formats whose compression changes values, are rejected.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from skipsearch.data.array_files import NPY, read_npy
from skipsearch.data.pictures import Header, opened, picture_header
from skipsearch.data.source import Array
from skipsearch.errors import DataError
from skipsearch.plan import Size

LOSSY = ("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF")  # Pillow's formats; some can be lossless
NUMBERS = ("1", "L", "P", "I", "I;16", "I;16B", "I;16L")  # Pillow's modes of one whole number
COLOURS_SHOWN = 3

Colours = dict[int, tuple[int, ...]]  # red, green and blue of the used indices of a palette

# Code in messages reads a mask as `mask = PIL.Image.open(FILE)`.
OF_COLOURS = (
    "Image.fromarray((numpy.array(mask.convert('RGB'))[:, :, None] == colours)"
    ".all(3).argmax(2).astype('uint8'))"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mask:
    """A mask after reading.

    Attributes:
        classes: Class number of each pixel (H, W), uint8.
        palette: Colours of its class numbers; empty without a palette.
    """

    classes: Array
    palette: Colours


def open_mask(path: Path) -> Mask:
    """Read a mask file.

    Raises:
        DataError: If it cannot be read, or does not hold class numbers.
    """
    if path.suffix.lower() == NPY:
        return Mask(classes=_classes(path, _array(path)), palette={})
    with opened(path) as image:
        if image.format in LOSSY or image.info.get("compression") == "jpeg":
            raise DataError(
                f"{path}: a {image.format} mask: its compression may change class numbers: save"
                " the original mask as PNG"
            )
        if (frames := getattr(image, "n_frames", 1)) > 1:
            raise DataError(f"{path}: {frames} masks in one file, expected one")
        upright = ImageOps.exif_transpose(image)
        if upright.mode not in NUMBERS:
            raise DataError(f"{path}: {_other_kind(upright)}")
        numbers = np.asarray(upright)
        palette = upright.getpalette("RGB") if upright.mode == "P" else None
    classes = _classes(path, numbers)
    if palette is None:
        return Mask(classes=classes, palette={})
    used = np.unique(classes).tolist()
    return Mask(classes=classes, palette={n: tuple(palette[3 * n : 3 * n + 3]) for n in used})


def mask_header(path: Path) -> Header:
    """Read the size of a mask file.

    Raises:
        DataError: If it cannot be read.
    """
    if path.suffix.lower() != NPY:
        return picture_header(path)
    size = Size(*_array(path).shape)
    return Header(size=size, orientation=1, pixels="uint8", channels=1, is_array=True)


def _array(path: Path) -> Array:
    """Read whole numbers (H, W) from an .npy file."""
    array = read_npy(path).array
    if array.ndim != 2 or array.size == 0 or array.dtype.kind not in "biu":
        raise DataError(
            f"{path}: an array of {array.dtype} {array.shape}, expected a class number for each"
            " pixel, whole numbers (H, W)"
        )
    return array


def _classes(path: Path, numbers: Array) -> Array:
    """Return numbers as class numbers; raise an error if a byte does not hold them."""
    low, high = int(numbers.min()), int(numbers.max())
    if low < 0 or high > 255:
        raise DataError(
            f"{path}: value {low if low < 0 else high} is no class: expected class numbers from 0"
            " on, and 255 for ignored pixels"
        )
    return numbers.astype(np.uint8)


def _other_kind(mask: Image.Image) -> str:
    """Describe a mask that does not hold class numbers, with the code that converts it."""
    expected = "expected a class number for each pixel"
    if mask.mode == "F":
        line = "Image.fromarray(numpy.array(mask).round().astype('uint8'))"
        return f"a mask of floating-point numbers, {expected}: save {line}"
    pixels = np.asarray(mask.convert("RGB"))
    if mask.mode in ("LA", "PA") or (pixels == pixels[..., :1]).all():
        return f"a mask of mode {mask.mode}, {expected}: save mask.getchannel(0)"
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    shown = ", ".join(str(tuple(colour.tolist())) for colour in colours[:COLOURS_SHOWN])
    more = ", ..." if len(colours) > COLOURS_SHOWN else ""
    return (
        f"a mask of mode {mask.mode} with {len(colours):,} colours ({shown}{more}), {expected}:"
        f" with colours = [(red, green, blue), ...] of the classes, save {OF_COLOURS}"
    )


def check_palettes(palettes: Iterable[tuple[Path, Colours]]) -> int:
    """Return the number of palette masks; raise an error if an index has several colours.

    Programs that convert colours to a palette choose one for each file, so that its indices are
    unrelated to classes.
    """
    known: dict[int, tuple[Path, tuple[int, ...]]] = {}
    number = 0
    for path, palette in palettes:
        number += bool(palette)
        for index, colour in palette.items():
            other, before = known.setdefault(index, (path, colour))
            if before != colour:
                raise DataError(
                    f"{path}: index {index} of its palette is the colour {colour}, and {before} in"
                    f" {other}, so that indices are no class numbers: with colours = [(red, green,"
                    f" blue), ...] of the classes, save {OF_COLOURS}"
                )
    return number
