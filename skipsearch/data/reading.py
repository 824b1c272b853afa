"""Reading many picture files into one tensor for each split."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from skipsearch.data.memory import require_memory
from skipsearch.data.notes import Notes
from skipsearch.data.pictures import Header, open_picture, read_header
from skipsearch.errors import DataError
from skipsearch.plan import Size


def read_pictures(
    where: str,
    files: Mapping[str, Sequence[Path]],
    channels: int,
    size: Size,
    notes: Notes,
) -> tuple[dict[str, Tensor], Notes]:
    """Read the picture files of each split.

    Args:
        where: Source of the files, for messages.
        files: Files of each split.
        channels: Number of channels of the images.
        size: Height and width of the images.
        notes: Notes on the files so far.

    Returns:
        Images (N, channels, height, width) of each split, uint8, and the notes with the numbers of
        animated and transparent images.

    Raises:
        DataError: If there is not enough memory, or a file cannot be read.
    """
    number = sum(map(len, files.values()))
    require_memory(
        2 * number * channels * size.pixels,  # twice, for the division into splits
        f"{where}: {number:,} images of {channels} x {size} bytes",
        "give a smaller image_size",
    )
    tensors, animated, transparent = {}, 0, 0
    with ThreadPoolExecutor() as pool:
        for split, paths in files.items():
            # Filled in place: a list of images and its stack would need twice the memory.
            tensors[split] = torch.empty(len(paths), channels, *size, dtype=torch.uint8)
            read = pool.map(lambda path: open_picture(path, channels, size), paths)
            for index, picture in enumerate(read):
                tensors[split][index] = picture.pixels
                animated += picture.animated
                transparent += picture.transparent
    return tensors, replace(notes, animated=animated, transparent=transparent)


def read_headers(files: Mapping[str, Sequence[Path]]) -> dict[Path, Header]:
    """Read the headers of picture files.

    Raises:
        DataError: If one cannot be read.
    """
    paths = [path for of_split in files.values() for path in of_split]
    with ThreadPoolExecutor() as pool:
        return dict(zip(paths, pool.map(read_header, paths), strict=True))


def format_of(headers: Mapping[Path, Header], size: Size | None) -> tuple[int, Size]:
    """Return the channels and the size in which pictures are read for a task per pixel.

    Args:
        headers: Header of each file.
        size: Required height and width; None for those of the pictures.

    Returns:
        Number of channels, 1 if all pictures are grey and 3 otherwise; height and width.

    Raises:
        DataError: If no size is required and the pictures have several.
    """
    channels = 1 if all(header.is_grey for header in headers.values()) else 3
    if size is not None:
        return channels, size
    (first, header), *others = headers.items()
    for path, other in others:
        if other.size != header.size:
            raise DataError(
                f"{first} has {header.size} pixels and {path} {other.size}: images of several sizes"
                " need image_size, one number or height and width"
            )
    return channels, header.size
