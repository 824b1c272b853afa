"""Reading of 8-bit pictures in the format of training and prediction: uint8 of one size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from skipsearch.data.geometry import fit
from skipsearch.errors import DataError, UnreadableError, counted, reason
from skipsearch.plan import Size

MODES = {1: "L", 3: "RGB"}  # by number of channels; grey is the luma of ITU-R 601-2
GREY_MODES = ("1", "L", "LA")  # Pillow's modes of pictures without colours
ORIENTATION = 0x0112  # EXIF tag; values from 5 on exchange height and width


def takes_pictures(pixels: str, channels: int) -> bool:
    """Return whether 8-bit pictures can be converted to a type of pixels and number of channels."""
    return pixels == "uint8" and channels in MODES


def rule_of(pixels: str, channels: int, *, per_pixel: bool, resized: bool) -> str:
    """Describe how an image is prepared for a network, for other implementations.

    Args:
        pixels: Type of the pixels.
        channels: Number of channels.
        per_pixel: Whether the network has values for each pixel.
        resized: Whether the training images were resized; otherwise only 8-bit pictures are.
    """
    kept = "its type of pixels and its channels kept"
    if takes_pictures(pixels, channels):
        kept = "converted to grey or RGB by its channels"
    start = f"turned upright as its EXIF says, {kept}"
    if per_pixel:
        return (
            f"{start}; if the training images were resized, resized as they were (bilinear,"
            " antialiased, without cutting anything off), and the outputs resized back"
        )
    fitted = (
        f"{start}, resized (bilinear, antialiased) to cover the image size, as its shorter side"
        " does a square, the middle of the longer side kept"
    )
    exact = "must have the size of the training images, which were not resized"
    if resized:
        return fitted
    return (
        f"{fitted}; an array {exact}" if takes_pictures(pixels, channels) else f"{start}; {exact}"
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """An image after reading.

    Attributes:
        pixels: Pixels (channels, height, width).
        animated: Whether the file has more images, which were not read.
        transparent: Whether any transparency was dropped.
    """

    pixels: Tensor
    animated: bool
    transparent: bool


@dataclass(frozen=True, kw_only=True)
class Header:
    """The size and the kind of an image file.

    Attributes:
        size: Height and width of the upright image.
        orientation: EXIF orientation; 1 if the image is neither rotated nor mirrored.
        pixels: Type of the pixels.
        channels: Number of channels; of an 8-bit picture 1 if it has no colours, and 3 otherwise.
        is_array: Whether it is not an 8-bit picture, and keeps its type and its channels.
    """

    size: Size
    orientation: int
    pixels: str
    channels: int
    is_array: bool

    @property
    def kind(self) -> str:
        """Its kind in words."""
        if not self.is_array:
            return "an 8-bit picture"
        return f"an image of {self.pixels} in {counted(self.channels, 'channel')}"

    @property
    def is_turned(self) -> bool:
        """Whether its EXIF exchanges height and width."""
        return self.orientation >= 5


def open_picture(path: str | Path, channels: int, size: Size) -> Picture:
    """Read an 8-bit picture of any size and mode as described by `rule_of`.

    Args:
        path: Path of the file.
        channels: Number of channels: 1 for grey, 3 for RGB.
        size: Height and width.

    Raises:
        DataError: If it cannot be read, or has more than 8 bits per channel.
    """
    with opened(path) as image:
        if image.mode.startswith(("I", "F")):  # Pillow would clip these to white in RGB
            raise DataError(f"{path}: more than 8 bits a channel ({image.mode})")
        animated = getattr(image, "is_animated", False)
        upright = ImageOps.exif_transpose(image)
        transparent = upright.has_transparency_data
        if transparent:
            upright = upright.convert("RGBA")
            transparent = bool(np.asarray(upright)[..., 3].min() < 255)
        upright = upright.convert(MODES[channels])
        resized, window = fit(Size(upright.height, upright.width), size)
        upright = upright.resize((resized.width, resized.height), Image.Resampling.BILINEAR)
        upright = upright.crop((window.left, window.top, window.right, window.bottom))
    pixels = torch.from_numpy(np.array(upright).reshape(*size, -1))
    return Picture(pixels=pixels.permute(2, 0, 1), animated=animated, transparent=transparent)


def picture_header(path: str | Path) -> Header:
    """Read the header of a picture of 8 bits, which is much faster than reading its pixels.

    Raises:
        DataError: If it cannot be read.
    """
    with opened(path) as image:
        orientation = orientation_of(image)
        size = Size(image.height, image.width)
        return Header(
            size=Size(*reversed(size)) if orientation >= 5 else size,
            orientation=orientation,
            pixels="uint8",
            channels=1 if image.mode in GREY_MODES else 3,
            is_array=False,
        )


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an image; 1 if it has none."""
    return int(image.getexif().get(ORIENTATION, 1))


@contextmanager
def opened(path: str | Path) -> Iterator[Image.Image]:
    """Open an image file.

    Raises:
        DataError: If opening the file, or reading it in the ``with`` statement, fails.
    """
    try:
        with Image.open(path) as image:
            yield image
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise DataError(f"{path}: a folder, expected an image file") from None
    except UnidentifiedImageError:
        what = "an empty file" if Path(path).stat().st_size == 0 else "not a known image format"
        raise UnreadableError(f"{path}: unreadable image ({what})") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others
        raise UnreadableError(f"{path}: unreadable image ({reason(error)})") from None
