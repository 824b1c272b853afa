"""A picture file -> the format of images in training and prediction: a square of uint8 pixels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from skipsearch.errors import DataError, reason

MODES = {1: "L", 3: "RGB"}  # by channels; grey is the luma of ITU-R 601-2

# Description of `read_picture`, for implementations elsewhere.
RULE = (
    "turned upright as its EXIF says, converted to grey or RGB by its channels, its shorter side"
    " resized (bilinear, antialiased), the middle of the longer side kept"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A picture after reading.

    Attributes:
        pixels: Pixels (channels, image_size, image_size), uint8.
        animated: Whether the file has more images, which were not read.
        transparent: Whether any transparency was dropped.
    """

    pixels: Tensor
    animated: bool
    transparent: bool


def read_picture(path: str | Path, channels: int, image_size: int) -> Tensor:
    """Read an image file of any size and mode as one square image, as described by `RULE`.

    Transparency is dropped, and only the first frame of an animation is read.

    Args:
        path: Path of a file in a format that Pillow supports.
        channels: Number of channels: 1 for grey, 3 for RGB.
        image_size: Side in pixels.

    Returns:
        Pixels (channels, image_size, image_size), uint8.

    Raises:
        DataError: If it cannot be read, or has more than 8 bits per channel.
    """
    return open_picture(path, channels, image_size).pixels


def open_picture(path: str | Path, channels: int, image_size: int) -> Picture:
    """Read an image file as `read_picture` does, and report what was dropped.

    Raises:
        DataError: See `read_picture`.
    """
    try:
        with Image.open(path) as image:
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
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error and others
        raise DataError(f"{path}: unreadable image ({reason(error)})") from None
    pixels = torch.from_numpy(np.array(square).reshape(image_size, image_size, -1))
    return Picture(pixels=pixels.permute(2, 0, 1), animated=animated, transparent=transparent)


def fit(height: int, width: int, image_size: int) -> tuple[int, int, int, int]:
    """Return how to convert an image to a square as by torchvision's Resize and CenterCrop.

    torchvision's own transforms could do this, but importing torchvision takes as long as torch.

    Args:
        height: Height of the image in pixels.
        width: Width of the image in pixels.
        image_size: Height and width of the square in pixels.

    Returns:
        Height and width after resizing, then top and left of the square to crop.
    """
    shorter = min(height, width)
    height, width = image_size * height // shorter, image_size * width // shorter
    return height, width, round((height - image_size) / 2), round((width - image_size) / 2)
