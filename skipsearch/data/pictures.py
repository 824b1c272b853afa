"""A picture file -> what a network is trained on and asked about: a square of uint8 pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from skipsearch.errors import DataError, reason

MODES = {1: "L", 3: "RGB"}  # by channels; grey is the luma of ITU-R 601-2

# What `read_picture` does, in words for those who have to do it elsewhere.
RULE = (
    "turned upright as its EXIF says, converted to grey or RGB by its channels, its shorter side"
    " resized (bilinear, antialiased), the middle of the longer side kept"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture as it was read.

    Attributes:
        pixels: (channels, image_size, image_size) uint8.
        animated: whether the file holds more images, which were not read.
        transparent: whether any transparency was dropped.
    """

    pixels: Tensor
    animated: bool
    transparent: bool


def read_picture(path: str | Path, channels: int, image_size: int) -> Tensor:
    """Read an image file of any size and mode as one square image, as `RULE` says.

    Transparency is dropped, and of an animation the first frame is read.

    Args:
        path: the file, in a format that Pillow knows.
        channels: 1 for grey, 3 for RGB.
        image_size: the side in pixels.

    Returns:
        (channels, image_size, image_size) uint8.

    Raises:
        DataError: it cannot be read, or has more than 8 bits a channel.
    """
    return open_picture(path, channels, image_size).pixels


def open_picture(path: str | Path, channels: int, image_size: int) -> Picture:
    """Read an image file as `read_picture` does, and tell what was dropped.

    Raises:
        DataError: as for `read_picture`.
    """
    try:
        with Image.open(path) as image:
            if image.mode.startswith(("I", "F")):  # to RGB, PIL would clip these to white
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
        height, width, top, left = fit(upright.height, upright.width, image_size)
        resized = upright.resize((width, height), Image.Resampling.BILINEAR)
        square = resized.crop((left, top, left + image_size, top + image_size))
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(f"{path}: no such file") from None
    except UnidentifiedImageError:
        what = "an empty file" if Path(path).stat().st_size == 0 else "not a known image format"
        raise DataError(f"{path}: unreadable image ({what})") from None
    except Exception as error:  # the decoders raise OSError, SyntaxError, struct.error and others
        raise DataError(f"{path}: unreadable image ({reason(error)})") from None
    pixels = torch.from_numpy(np.array(square).reshape(image_size, image_size, -1))
    return Picture(pixels=pixels.permute(2, 0, 1), animated=animated, transparent=transparent)


def fit(height: int, width: int, image_size: int) -> tuple[int, int, int, int]:
    """Say how an image becomes a square as with torchvision's Resize and CenterCrop.

    torchvision's own transforms could do this, but importing torchvision takes as long as torch.

    Args:
        height: Height of the image, in pixels.
        width: Width of the image, in pixels.
        image_size: Height and width of the square, in pixels.

    Returns:
        The height and width to resize to, then the top and left of the square to cut out.
    """
    shorter = min(height, width)
    height, width = image_size * height // shorter, image_size * width // shorter
    return height, width, round((height - image_size) / 2), round((width - image_size) / 2)
