"""Reading many image files into one tensor for each split, in parallel."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from torch import Tensor

from skipsearch.data.image_files import Format, read_header, read_image
from skipsearch.data.notes import Notes
from skipsearch.data.pictures import Header, Picture
from skipsearch.data.pixels import torch_type
from skipsearch.data.progress import Progress
from skipsearch.data.rooms import Room
from skipsearch.errors import DataError, UnreadableError
from skipsearch.plan import Size

BLOCK = 32  # files that a thread reads at a time

Files = dict[str, list[Path]]  # files of each split
T = TypeVar("T")


class Reading:
    """The reading of a folder of image files.

    Args:
        folder: Folder of the data set, for messages.
        room: Place of the decoded images and masks.
        skip_damaged: Whether files that cannot be read are left out.

    Attributes:
        damaged: Files that were left out, in the order in which they were found.
    """

    def __init__(self, folder: Path, room: Room, *, skip_damaged: bool = False) -> None:
        self.folder = folder
        self.room = room
        self.damaged: list[Path] = []
        self._skip_damaged = skip_damaged

    def each(
        self, paths: Sequence[Path], read: Callable[[Path], T], what: str = "image"
    ) -> list[T | None]:
        """Call a function for each file in several threads.

        Args:
            paths: Files.
            read: Function that reads a file.
            what: What a file is, for the display of progress.

        Returns:
            Result for each file; None for a damaged one that is left out.

        Raises:
            DataError: If the function raises it for a file, unless that is damaged and left out.
        """
        progress = Progress(len(paths), what)

        def block(start: int) -> list[T | None]:
            found = [self._tried(path, read) for path in paths[start : start + BLOCK]]
            progress.add(len(found))
            return found

        try:
            with ThreadPoolExecutor() as pool:
                try:
                    blocks = list(pool.map(block, range(0, len(paths), BLOCK)))
                except BaseException:
                    pool.shutdown(cancel_futures=True)
                    raise
        finally:
            progress.close()
        found = [result for of_block in blocks for result in of_block]
        self.damaged += [path for path, one in zip(paths, found, strict=True) if one is None]
        return found

    def _tried(self, path: Path, read: Callable[[Path], T]) -> T | None:
        try:
            return read(path)
        except UnreadableError as error:
            if self._skip_damaged:
                return None
            raise UnreadableError(
                f"{error}: repair or remove it, or leave out such files with --skip-damaged"
                " (skip_damaged)"
            ) from None

    def sound(self, files: Mapping[str, Sequence[Path]]) -> Files:
        """Return the files of each split without those that were left out.

        Raises:
            DataError: If no file of a split is left.
        """
        damaged = set(self.damaged)
        left = {
            split: [path for path in paths if path not in damaged] for split, paths in files.items()
        }
        for split, paths in left.items():
            if not paths and files[split]:
                raise DataError(
                    f"{self.folder}: all {len(files[split]):,} {split} images are damaged, such as"
                    f" {files[split][0]}"
                )
        return left

    def headers(
        self,
        files: Mapping[str, Sequence[Path]],
        read: Callable[[Path], Header] = read_header,
        what: str = "header",
    ) -> dict[Path, Header]:
        """Read the headers of image files.

        Args:
            files: Files of each split.
            read: Function that reads one.
            what: What is read, for the display of progress.

        Raises:
            DataError: If one cannot be read.
        """
        paths = [path for of_split in files.values() for path in of_split]
        found = zip(paths, self.each(paths, read, what), strict=True)
        return {path: header for path, header in found if header is not None}

    def images(
        self, files: Mapping[str, Sequence[Path]], wanted: Format, notes: Notes
    ) -> tuple[dict[str, Tensor], Notes]:
        """Read the image files of each split.

        Args:
            files: Files of each split.
            wanted: Format of the images.
            notes: Notes on the files so far.

        Returns:
            Images (N, channels, height, width) of each split, without damaged ones, and the notes
            with the numbers of animated, transparent and damaged images.

        Raises:
            DataError: If there is not enough memory, or a file cannot be read or has another
                format.
            OSError: If there is not enough space in the cache.
        """
        number, dtype = sum(map(len, files.values())), torch_type(wanted.pixels)
        unit = "bytes" if wanted.pixels == "uint8" else wanted.pixels
        self.room.reserve(
            number * wanted.channels * wanted.size.pixels * dtype.itemsize,
            f"{self.folder}: {number:,} images of {wanted.channels} x {wanted.size} {unit}",
        )
        tensors, animated, transparent = {}, 0, 0
        for split, paths in files.items():
            shape = (len(paths), wanted.channels, *wanted.size)
            images = self.room.empty(f"{split}_images", shape, dtype)
            place = {path: index for index, path in enumerate(paths)}

            def read(
                path: Path, images: Tensor = images, place: Mapping[Path, int] = place
            ) -> _Seen:
                picture = read_image(path, wanted)
                images[place[path]] = picture.pixels
                return _Seen.of(picture)

            seen = self.each(paths, read)
            tensors[split] = kept(images, [one is not None for one in seen])
            animated += sum(one.animated for one in seen if one is not None)
            transparent += sum(one.transparent for one in seen if one is not None)
        damaged = tuple(path.relative_to(self.folder).as_posix() for path in sorted(self.damaged))
        return tensors, replace(notes, animated=animated, transparent=transparent, damaged=damaged)


@dataclass(frozen=True, slots=True)
class _Seen:
    """What was seen of a picture beside its pixels."""

    animated: bool
    transparent: bool

    @classmethod
    def of(cls, picture: Picture) -> "_Seen":
        return cls(picture.animated, picture.transparent)


def kept(items: Tensor, keep: Iterable[bool]) -> Tensor:
    """Return some of the items of a tensor, moved to its start."""
    rows = [row for row, is_kept in enumerate(keep) if is_kept]
    if len(rows) == len(items):
        return items
    for place, row in enumerate(rows):
        items[place] = items[row]
    return items[: len(rows)]


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
