"""Image files that are read as arrays: .npy files, and grey pictures of 16 bits or floats."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
from PIL import ImageOps

from skipsearch.data.axes import CHANNELS_LAST
from skipsearch.data.pictures import opened, orientation_of
from skipsearch.data.source import Array
from skipsearch.errors import DataError, UnreadableError, reason

NPY = ".npy"

# Types of pixels by Pillow's modes of pictures that are read as arrays.
DEEP_MODES = {
    "I;16": "uint16",
    "I;16L": "uint16",
    "I;16B": "uint16",
    "I;16N": "uint16",
    "F": "float32",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class RawImage:
    """The content of a file, before it is checked.

    Attributes:
        array: Array with the pixels.
        axes: ``NHWC`` or ``NCHW``, as for several images; None if the file does not tell.
        orientation: EXIF orientation, which has been applied; 1 if there is none.
        has_more: Whether the file has more images, which were not read.
    """

    array: Array
    axes: str | None
    orientation: int = 1
    has_more: bool = False


Reader = Callable[[Path], RawImage]


def read_npy(path: Path) -> RawImage:
    """Read an image from an .npy file.

    Raises:
        DataError: If it cannot be read.
    """
    return RawImage(array=npy_array(path, "image"), axes=None)


def npy_array(path: Path, name: str) -> Array:
    """Return the array in an .npy file.

    Args:
        path: Path of the file.
        name: Name of the array, for messages.

    Raises:
        DataError: If it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            # Not numpy.load, which takes any other file for a pickle.
            array: Array = np.lib.format.read_array(stream, allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except Exception as error:  # numpy raises errors of many kinds
        if is_of_objects(error):
            raise UnreadableError(f"{path}: {of_objects(name)}") from None
        if is_zipfile(path):
            raise DataError(
                f"{path}: an archive of arrays, expected one array in an {NPY} file"
            ) from None
        raise UnreadableError(f"{path}: unreadable as an {NPY} file ({reason(error)})") from None
    return array


def is_of_objects(error: Exception) -> bool:
    """Return whether an error of numpy is about an array of Python objects."""
    return "allow_pickle" in str(error)


def of_objects(name: str) -> str:
    """Return a clause that an array holds Python objects, with the code that converts it."""
    plain = f"{name}.astype(str)" if name.endswith("_labels") else f"numpy.stack(list({name}))"
    return f"{name} holds Python objects, which are not read: save {plain}"


def read_deep(path: Path) -> RawImage:
    """Read a grey picture of 16 bits or of floating-point numbers.

    Raises:
        DataError: If it cannot be read, or has other pixels.
    """
    with opened(path) as image:
        if image.mode not in DEEP_MODES:
            raise DataError(
                f"{path}: a {image.format} file that Pillow opens as 32-bit integers (mode"
                f" {image.mode}), expected 8 or 16 bits or floating-point numbers: save"
                " numpy.array(image).astype('uint16') as a PNG if they fit"
            )
        pixels = np.asarray(ImageOps.exif_transpose(image))
        return RawImage(
            array=pixels.astype(DEEP_MODES[image.mode]),
            axes=CHANNELS_LAST,
            orientation=orientation_of(image),
            has_more=getattr(image, "is_animated", False),
        )
