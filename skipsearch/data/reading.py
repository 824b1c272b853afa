"""Reading many image files into one tensor for each split."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from skipsearch.data.image_files import Format, read_header, read_image
from skipsearch.data.memory import require_memory
from skipsearch.data.notes import Notes
from skipsearch.data.pictures import Header
from skipsearch.data.pixels import torch_type
from skipsearch.errors import DataError
from skipsearch.plan import Size


def read_images(
    where: str, files: Mapping[str, Sequence[Path]], wanted: Format, notes: Notes
) -> tuple[dict[str, Tensor], Notes]:
    """Read the image files of each split.

    Args:
        where: Source of the files, for messages.
        files: Files of each split.
        wanted: Format of the images.
        notes: Notes on the files so far.

    Returns:
        Images (N, channels, height, width) of each split, and the notes with the numbers of
        animated and transparent images.

    Raises:
        DataError: If there is not enough memory, or a file cannot be read or has another format.
    """
    number, dtype = sum(map(len, files.values())), torch_type(wanted.pixels)
    unit = "bytes" if wanted.pixels == "uint8" else wanted.pixels
    require_memory(
        # Twice, for the division into splits.
        2 * number * wanted.channels * wanted.size.pixels * dtype.itemsize,
        f"{where}: {number:,} images of {wanted.channels} x {wanted.size} {unit}",
        "give a smaller image_size",
    )
    tensors, animated, transparent = {}, 0, 0
    with ThreadPoolExecutor() as pool:
        for split, paths in files.items():
            # Filled in place: a list of images and its stack would need twice the memory.
            tensors[split] = torch.empty(len(paths), wanted.channels, *wanted.size, dtype=dtype)
            read = pool.map(lambda path: read_image(path, wanted), paths)
            for index, picture in enumerate(read):
                tensors[split][index] = picture.pixels
                animated += picture.animated
                transparent += picture.transparent
    return tensors, replace(notes, animated=animated, transparent=transparent)


def read_headers(
    files: Mapping[str, Sequence[Path]], read: Callable[[Path], Header] = read_header
) -> dict[Path, Header]:
    """Read the headers of image files.

    Args:
        files: Files of each split.
        read: Function that reads one.

    Raises:
        DataError: If one cannot be read.
    """
    paths = [path for of_split in files.values() for path in of_split]
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(read, paths), strict=True))


def format_of(
    headers: Mapping[Path, Header], size: Size | None, channels: int | None = None
) -> Format:
    """Return the format in which images are read: that of the first, and of all 8-bit pictures.

    Args:
        headers: Header of each file.
        size: Required height and width; None for those of the images.
        channels: Number of channels of 8-bit pictures; None for 1 if all are grey, 3 otherwise.

    Raises:
        DataError: If the images are of several kinds, or no size is required and they have several.
    """
    (first, header), *others = headers.items()
    origin = f"{first} is {header.kind}: expected one type of pixels"
    for path, other in others:
        if other.kind != header.kind:
            raise DataError(f"{path} is {other.kind}, and {origin}")
        if size is None and other.size != header.size:
            raise DataError(
                f"{first} has {header.size} pixels and {path} {other.size}: images of several sizes"
                " need image_size, one number or height and width"
            )
    if header.is_array:
        channels = header.channels
    elif channels is None:
        channels = max(known.channels for known in headers.values())
    return Format(
        pixels=header.pixels,
        channels=channels,
        size=size or header.size,
        pictures=not header.is_array,
        arrays=header.is_array,
        origin=origin,
    )
