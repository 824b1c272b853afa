"""Reading of picture files in the format of training and prediction: uint8 pixels of one size."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from skipsearch.data.geometry import fit
from skipsearch.errors import DataError, reason
from skipsearch.plan import ImageSize, Size

MODES = {1: "L", 3: "RGB"}  # by number of channels; grey is the luma of ITU-R 601-2
GREY_MODES = ("1", "L", "LA")  # Pillow's modes of pictures without colours
ORIENTATION = 0x0112  # EXIF tag; values from 5 on exchange height and width

# Description of `read_picture`, for other implementations.
RULE = (
    "turned upright as its EXIF says, converted to grey or RGB by its channels, resized"
    " (bilinear, antialiased) to cover the image size, as its shorter side does a square, the"
    " middle of the longer side kept"
)

# The same for networks with values for each pixel.
FULL_SIZE_RULE = (
    "turned upright as its EXIF says, converted to grey or RGB by its channels; if the training"
    " images were resized, resized as they were (bilinear, antialiased, without cutting anything"
    " off), and the outputs resized back"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture after reading.

    Attributes:
        pixels: Pixels (channels, height, width), uint8.
        animated: Whether the file has more images, which were not read.
        transparent: Whether any transparency was dropped.
    """

    pixels: Tensor
    animated: bool
    transparent: bool


@dataclass(frozen=True, kw_only=True)
class Header:
    """The header of a picture file, which is read much faster than its pixels.

    Attributes:
        size: Height and width of the upright picture.
        orientation: EXIF orientation; 1 if the picture is neither rotated nor mirrored.
        is_grey: Whether it has no colours.
    """

    size: Size
    orientation: int
    is_grey: bool

    @property
    def is_turned(self) -> bool:
        """Whether its EXIF exchanges height and width."""
        return self.orientation >= 5


def read_picture(path: str | Path, channels: int, image_size: ImageSize) -> Tensor:
    """Read an image file of any size and mode as one image of a size, as described by `RULE`.

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
    return open_picture(path, channels, Size.of(image_size)).pixels


def open_picture(path: str | Path, channels: int, size: Size) -> Picture:
    """Read an image file as `read_picture` does, and report what was dropped.

    Raises:
        DataError: See `read_picture`.
    """
    with opened(path) as image:
        if image.mode.startswith(("I", "F")):  # PIL would clip these to white in RGB
            raise DataError(
                f"{path}: more than 8 bits a channel ({image.mode}): convert it to 8 bits"
            )
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


def read_header(path: str | Path) -> Header:
    """Read the header of an image file.

    Raises:
        DataError: If it cannot be read.
    """
    with opened(path) as image:
        orientation = int(image.getexif().get(ORIENTATION, 1))
        size = Size(image.height, image.width)
        return Header(
            size=Size(*reversed(size)) if orientation >= 5 else size,
            orientation=orientation,
            is_grey=image.mode in GREY_MODES,
        )


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
    except UnidentifiedImageError:
        what = "an empty file" if Path(path).stat().st_size == 0 else "not a known image format"
        raise DataError(f"{path}: unreadable image ({what})") from None
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others
        raise DataError(f"{path}: unreadable image ({reason(error)})") from None
