"""One image file of any kind: 8-bit pictures become grey or RGB, all others keep what they hold.

Only this file decides which reader a file needs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from skipsearch.data.array_files import NPY, RawImage, Reader, read_deep, read_npy
from skipsearch.data.axes import CHANNELS_FIRST, CHANNELS_LAST, axes_of
from skipsearch.data.pictures import Header, Picture, open_picture, opened, picture_header
from skipsearch.data.pixels import check_pixels, pixel_type
from skipsearch.data.resizing import resize_images
from skipsearch.data.tiff_files import MAGIC, tiff_reader
from skipsearch.errors import DataError
from skipsearch.plan import ImageSize, Size

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_DEPTH, PNG_COLOUR = 24, 25  # bytes of the header with the bits a channel and the colour type
PNG_GREY = 0
JPEG_MAGIC = b"\xff\xd8\xff"  # of 8 bits in Pillow


@dataclass(frozen=True, kw_only=True)
class Format:
    """The format in which images are read.

    Attributes:
        pixels: Type of the pixels.
        channels: Number of channels.
        size: Height and width to resize to.
        pictures: Whether 8-bit pictures are read, and converted to this number of channels.
        arrays: Whether all other images of this type and number of channels are read.
        origin: Clause on what asks for this format, for messages.
        exact: Whether images other than 8-bit pictures must have this size already.
    """

    pixels: str
    channels: int
    size: Size
    pictures: bool
    arrays: bool
    origin: str
    exact: bool = False


def read_image(path: Path, wanted: Format, channels: int | None = None) -> Picture:
    """Read an image file.

    Args:
        path: Path of the file.
        wanted: Required format.
        channels: Number of channels, if it is known; it tells the axes of an ambiguous shape.

    Raises:
        DataError: If it cannot be read, or has another format.
    """
    reader = _reader_of(path)
    if reader is None:
        if not wanted.pictures:
            raise DataError(f"{path} is an 8-bit picture, and {wanted.origin}")
        return open_picture(path, wanted.channels, wanted.size)
    raw = reader(path)
    pixels = _pixels(path, raw, channels)
    if not wanted.arrays or (pixel_type(pixels), len(pixels)) != (wanted.pixels, wanted.channels):
        raise DataError(f"{path} is {_header(raw, pixels).kind}, and {wanted.origin}")
    if wanted.exact and Size(*pixels.shape[1:]) != wanted.size:
        raise DataError(
            f"{path} has {Size(*pixels.shape[1:])} pixels, and {wanted.origin} of {wanted.size}, on"
            " which it was trained without resizing: crop or resize the file"
        )
    return Picture(
        pixels=resize_images(pixels[None], wanted.size)[0],
        animated=raw.has_more,
        transparent=False,
    )


def read_header(path: Path, channels: int | None = None) -> Header:
    """Read the size and the kind of an image file. Of an array, all pixels are read and checked.

    Args:
        path: Path of the file.
        channels: As for `read_image`.

    Raises:
        DataError: If it cannot be read.
    """
    reader = _reader_of(path)
    if reader is None:
        return picture_header(path)
    raw = reader(path)
    return _header(raw, _pixels(path, raw, channels))


def read_picture(path: str | Path, channels: int, image_size: ImageSize) -> Tensor:
    """Read an 8-bit picture of any size and mode, as described by `rule_of`.

    Transparency is dropped, and only the first frame of an animation is read.

    Args:
        path: Path of a file in a format that Pillow supports.
        channels: Number of channels: 1 for grey, 3 for RGB.
        image_size: Side of a square in pixels, or height and width.

    Returns:
        Pixels (channels, height, width), uint8.

    Raises:
        DataError: If it cannot be read, or has more than 8 bits per channel.
    """
    wanted = Format(
        pixels="uint8",
        channels=channels,
        size=Size.of(image_size),
        pictures=True,
        arrays=False,
        origin="8-bit pictures are expected",
    )
    return read_image(Path(path), wanted).pixels


# --- kinds of files ------------------------------------------------------------------------------


def _reader_of(path: Path) -> Reader | None:
    """Return the function that reads a file as an array; None for an 8-bit picture.

    Raises:
        DataError: If it cannot be read, or is a PNG of several channels of 16 bits.
    """
    if path.suffix.lower() == NPY:
        return read_npy
    try:
        with path.open("rb") as stream:
            start = stream.read(PNG_COLOUR + 1)
    except OSError:
        start = b""  # opened as a picture, which words the error
    if start.startswith(JPEG_MAGIC):
        return None
    if start.startswith(MAGIC):
        return tiff_reader(path)
    if start.startswith(PNG_MAGIC) and len(start) > PNG_COLOUR:
        if start[PNG_DEPTH] <= 8:
            return None
        if start[PNG_COLOUR] != PNG_GREY:
            raise DataError(
                f"{path}: a PNG of several channels of 16 bits, of which Pillow keeps 8: save it as"
                f" a TIFF or an {NPY} file, or convert it to 8 bits"
            )
        return read_deep
    with opened(path) as image:
        return read_deep if image.mode.startswith(("I", "F")) else None


# --- arrays --------------------------------------------------------------------------------------


def _pixels(path: Path, raw: RawImage, channels: int | None) -> Tensor:
    """Return checked pixels (C, H, W); `channels`, if known, tell the axes of an ambiguous shape.

    Raises:
        DataError: If they are not an image, or of a type that no network takes.
    """
    array = raw.array
    what = f"{path}: an array of {array.dtype} {array.shape}"
    if array.ndim not in (2, 3) or 0 in array.shape:
        several = "; several are expected in train_images.npy" if array.ndim == 4 else ""
        raise DataError(
            f"{what}, expected one image (H, W), (H, W, C) or (C, H, W), not empty{several}"
        )
    check_pixels(what, array, "image")
    axes = raw.axes or _axes(array.shape, channels)
    if axes is None and channels is not None and channels not in array.shape:
        raise DataError(
            f"{what}, of which neither the first nor the last axis has {channels} channels"
        )
    if axes is None:
        raise DataError(
            f"{what}, in which the channels could be the first or the last axis: save it as a TIFF"
            " file by tifffile.imwrite(FILE, image, photometric='minisblack',"
            " metadata={'axes': 'CYX'}), or 'YXC', or all images as an .npz file with axes"
        )
    if array.ndim == 2:
        array = array[None]
    elif axes == CHANNELS_LAST:
        array = array.transpose(2, 0, 1)
    return torch.from_numpy(np.ascontiguousarray(array, array.dtype.newbyteorder("=")))


def _axes(shape: tuple[int, ...], channels: int | None) -> str | None:
    """Return the order of the axes of an image; None if it is ambiguous."""
    first, last = shape[0] == channels, shape[-1] == channels
    if len(shape) == 3 and first != last:
        return CHANNELS_FIRST if first else CHANNELS_LAST
    return axes_of(shape)


def _header(raw: RawImage, pixels: Tensor) -> Header:
    return Header(
        size=Size(*pixels.shape[1:]),
        orientation=raw.orientation,
        pixels=pixel_type(pixels),
        channels=len(pixels),
        is_array=True,
    )
