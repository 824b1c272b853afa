"""TIFF files: those that Pillow reads without a loss, and the others, which need tifffile."""

import importlib
from pathlib import Path
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from skipsearch.data.array_files import RawImage, Reader, read_deep
from skipsearch.data.axes import CHANNELS_FIRST, CHANNELS_LAST, axes_of
from skipsearch.errors import DataError, UnreadableError, counted, reason

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# Tags of TIFF 6.0.
BITS, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT, ORIENTATION = 258, 277, 338, 339, 274
PHOTOMETRIC, DESCRIPTION = 262, 270
WHITE_IS_ZERO = 0
SIGNED = 2  # sample format
SHAPED = '{"shape": ['  # start of tifffile's description of an array in several pages
TRUNCATED = '"truncated": true'  # in it, if only the first page has tags
IMAGEJ, IMAGEJ_CHANNELS = "ImageJ=", "\nchannels="  # start and part of ImageJ's description
OME = "OME>"  # end of an OME description
UNSPECIFIED = 0  # an extra sample that is not alpha
# Bits and sample format of single channels that Pillow keeps: integers and floating-point numbers.
KEPT_BY_PILLOW = ((12, 1), (16, 1), (32, 3))

CHANNEL_AXES = "SC"  # tifffile's letters of axes: samples, channels
ARRAY_AXIS, PAGE_AXIS = "Q", "I"  # an axis of an array without a meaning, a sequence of pages


def tiff_reader(path: Path) -> Reader | None:
    """Return the function that reads a TIFF file as an array; None for an 8-bit picture.

    Pillow reads some TIFF files as 8-bit pictures that are more: of 16 bits in colour, of signed
    numbers, with a channel that is neither a colour nor alpha, or with pages that are one array by
    a description of tifffile, of ImageJ with channels, or of OME.

    Raises:
        DataError: If its tags cannot be read, or if it is no 8-bit picture, and either is not
            upright or has white at 0.
    """
    try:
        tags, is_last = _tags(path)
        bits, samples = max(tags.get(BITS, (1,))), tags.get(SAMPLES, 1)
        has_others = UNSPECIFIED in tags.get(EXTRA_SAMPLES, ())
        kind = (bits, max(tags.get(SAMPLE_FORMAT, (1,))))
    except Exception as error:  # Pillow raises errors of many kinds
        raise UnreadableError(f"{path}: unreadable image ({reason(error)})") from None
    description = str(tags.get(DESCRIPTION, ""))  # bytes in some files
    is_last = is_last and TRUNCATED not in description
    is_in_pages = not is_last and _is_array(description)
    is_small = bits <= 8 and samples <= 4 and kind[1] != SIGNED
    if is_small and not has_others and not is_in_pages:
        return None
    orientation, photometric = tags.get(ORIENTATION, 1), tags.get(PHOTOMETRIC)
    if orientation != 1:  # Pillow garbles some of them, and tifffile does not turn them
        raise DataError(f"{path}: turned or mirrored by its orientation tag: save it upright")
    if photometric == WHITE_IS_ZERO:  # Pillow inverts 8 bits only, and tifffile nothing
        raise DataError(
            f"{path}: the value 0 is white (MinIsWhite), expected black: save the largest value"
            " minus the image as MinIsBlack"
        )
    return read_deep if samples == 1 and is_last and kind in KEPT_BY_PILLOW else read_tiff


def _is_array(description: str) -> bool:
    """Return whether the description of a file in several pages gives the axes of one array."""
    has_channels = description.startswith(IMAGEJ) and IMAGEJ_CHANNELS in description
    return description.startswith(SHAPED) or has_channels or description.rstrip().endswith(OME)


def _tags(path: Path) -> tuple[dict[int, Any], bool]:
    """Return the tags of the first page, and whether it is the last one."""
    with path.open("rb") as stream:
        header = stream.read(8)
        header += stream.read(8) if 43 in header[2:4] else b""  # BigTIFF
        tags = ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
        return dict(tags), tags.next == 0


def read_tiff(path: Path) -> RawImage:
    """Read the first image of a TIFF file.

    Raises:
        DataError: If tifffile is not installed, or the file cannot be read or is a stack of images.
    """
    try:
        tifffile = importlib.import_module("tifffile")
    except ImportError:
        raise DataError(
            f"{path}: a TIFF of several channels, or of pixels that Pillow does not read: tifffile"
            " is not installed: pip install 'skipsearch[tiff]'"
        ) from None
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            array, letters = series.asarray(), series.axes
            has_more = len(file.series) > 1
    except Exception as error:  # tifffile raises errors of many kinds
        raise UnreadableError(f"{path}: unreadable as a TIFF file ({reason(error)})") from None
    return RawImage(array=array, axes=_axes(path, letters, array.shape), has_more=has_more)


def _axes(path: Path, letters: str, shape: tuple[int, ...]) -> str:
    """Return the order of the axes; raise an error for a stack of images."""
    others = letters.replace("Y", "").replace("X", "")
    if len(letters) == len(others) + 2:
        if not others:
            return CHANNELS_LAST
        if others in CHANNEL_AXES:
            return CHANNELS_FIRST if letters.startswith(others) else CHANNELS_LAST
        if others == ARRAY_AXIS:  # a page is a channel, unless the shape tells otherwise
            return axes_of(shape) or CHANNELS_FIRST
        if others == PAGE_AXIS:
            raise DataError(
                f"{path}: {counted(shape[0], 'page')} that could be channels or images, expected"
                " one image: for channels, save tifffile.imwrite(FILE, tifffile.imread(FILE),"
                " photometric='minisblack', metadata={'axes': 'CYX'})"
            )
    raise DataError(f"{path}: a stack of images (axes {letters} of {shape}), expected one image")
