"""TIFF files: those that Pillow reads without a loss, and the others, which need tifffile."""

import importlib
from pathlib import Path
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from skipsearch.data.array_files import RawImage, Reader, read_deep
from skipsearch.data.axes import CHANNELS_FIRST, CHANNELS_LAST, axes_of
from skipsearch.errors import DataError, reason

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
# Tags of TIFF 6.0.
BITS, SAMPLES, EXTRA_SAMPLES, SAMPLE_FORMAT, ORIENTATION = 258, 277, 338, 339, 274
DESCRIPTION = 270
SHAPED = '{"shape": ['  # start of tifffile's description of an array in several pages
UNSPECIFIED = 0  # an extra sample that is not alpha
# Bits and sample format of single channels that Pillow keeps: integers and floating-point numbers.
KEPT_BY_PILLOW = ((12, 1), (16, 1), (32, 3))

CHANNEL_AXES = "SC"  # tifffile's letters of axes: samples, channels
PAGE_AXES = "QI"  # axes without a meaning, and sequences of pages


def tiff_reader(path: Path) -> Reader | None:
    """Return the function that reads a TIFF file as an array; None for an 8-bit picture.

    Pillow reads some TIFF files as 8-bit pictures that are more: of 16 bits in colour, or with a
    channel that is neither a colour nor alpha, or pages of one array that tifffile has written.

    Raises:
        DataError: If it is not upright, and no 8-bit picture.
    """
    try:
        tags, is_last = _tags(path)
        bits, samples = max(tags.get(BITS, (1,))), tags.get(SAMPLES, 1)
        has_others = UNSPECIFIED in tags.get(EXTRA_SAMPLES, ())
        is_in_pages = not is_last and tags.get(DESCRIPTION, "").startswith(SHAPED)
        if bits <= 8 and samples <= 4 and not has_others and not is_in_pages:
            return None
        kind = (bits, max(tags.get(SAMPLE_FORMAT, (1,))))
        orientation = tags.get(ORIENTATION, 1)
    except Exception:  # damaged in any way: the reader of pictures describes it
        return None
    if orientation != 1:  # Pillow garbles some of them, and tifffile does not turn them
        raise DataError(f"{path}: turned or mirrored by its orientation tag: save it upright")
    return read_deep if samples == 1 and is_last and kind in KEPT_BY_PILLOW else read_tiff


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
        raise DataError(f"{path}: unreadable as a TIFF file ({reason(error)})") from None
    return RawImage(array=array, axes=_axes(path, letters, array.shape), has_more=has_more)


def _axes(path: Path, letters: str, shape: tuple[int, ...]) -> str:
    """Return the order of the axes; raise an error for a stack of images."""
    others = letters.replace("Y", "").replace("X", "")
    if len(letters) == len(others) + 2:
        if not others:
            return CHANNELS_LAST
        if others in CHANNEL_AXES:
            return CHANNELS_FIRST if letters.startswith(others) else CHANNELS_LAST
        if others in PAGE_AXES:  # a page is a channel, unless the shape tells otherwise
            return axes_of(shape) or CHANNELS_FIRST
    raise DataError(f"{path}: a stack of images (axes {letters} of {shape}), expected one image")
