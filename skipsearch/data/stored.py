"""Data sets that torchvision keeps in a folder: read from files or archives, or downloaded.

torchvision provides the names of the files and the MD5 sums of the archives. It is imported only
when needed, since with its dependencies this takes longer than importing torch.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

from skipsearch.data.source import Array
from skipsearch.errors import DataError, reason


class Arrays(NamedTuple):
    """A data set in arrays.

    Attributes:
        parts: Images (N, H, W) or (N, H, W, C), and labels (N,) or masks (N, H, W), of each part.
        class_names: Name of each label.
    """

    parts: dict[str, tuple[Array, Array]]
    class_names: tuple[str, ...]


class Files(NamedTuple):
    """Files of a data set in torchvision, as paths below its root.

    Attributes:
        unpacked: Files that it reads.
        archives: Archives of these files, with their MD5 sums; none if it downloads the files
            themselves.
    """

    unpacked: list[str]
    archives: list[tuple[str, str]]


def read_stored(name: str, kind: str, root: Path, download: bool) -> Arrays:
    """Read a data set from its files, from its archives, or from the internet.

    Args:
        name: Name for messages.
        kind: Name of the torchvision class that reads it.
        root: Folder of torchvision's data sets.
        download: Whether it may be downloaded.

    Raises:
        DataError: If it cannot be read, or is missing and may not be downloaded.
    """
    files = files_of(kind)
    other = "name another folder with --data-root (root)"
    unpacked = all((root / file).is_file() for file in files.unpacked)
    packed = bool(files.archives) and all((root / file).is_file() for file, _ in files.archives)
    if not (unpacked or packed or download):
        raise DataError(f"{name} is not in {root} and may not be downloaded: {other}")
    try:
        if packed and not unpacked:
            return _read_archives(kind, root, files.archives)
        return _read(kind, root, download=not unpacked)
    except Exception as error:  # torchvision, scipy and the network raise many errors
        if unpacked or packed:
            trouble, mend = "unreadable", f"repair or delete it, or {other}"
        else:
            trouble, mend = "missing and cannot be downloaded", other
        raise DataError(f"{name} in {root} is {trouble} ({reason(error)}): {mend}") from None


def files_of(kind: str) -> Files:
    """Return the files of a data set, from the torchvision class that reads it."""
    from torchvision import datasets

    of = getattr(datasets, kind)
    if kind == "SVHN":
        return Files([of.split_list[part][1] for part in ("train", "test")], [])
    if issubclass(of, datasets.MNIST):
        raw = Path(kind, "raw")
        archives = [(str(raw / file), md5) for file, md5 in of.resources]
        return Files([file.removesuffix(".gz") for file, _ in archives], archives)
    names = [name for name, _ in (*of.train_list, *of.test_list)]
    unpacked = [f"{of.base_folder}/{name}" for name in (*names, of.meta["filename"])]
    return Files(unpacked, [(of.filename, of.tgz_md5)])


def _read(kind: str, root: Path, download: bool) -> Arrays:
    """Read unpacked files below a root, or download them to it."""
    from torchvision import datasets

    of: Any = getattr(datasets, kind)
    if kind == "SVHN":
        sides = {part: of(root, split=part, download=download) for part in ("train", "test")}
        parts = {part: (s.data.transpose(0, 2, 3, 1), s.labels) for part, s in sides.items()}
        return Arrays(parts, tuple("0123456789"))
    sides = {part: of(root, train=part == "train", download=download) for part in ("train", "test")}
    parts = {part: (np.asarray(s.data), np.asarray(s.targets)) for part, s in sides.items()}
    return Arrays(parts, tuple(sides["train"].classes))


def _read_archives(kind: str, root: Path, archives: list[tuple[str, str]]) -> Arrays:
    """Read archives that are not unpacked, without changing their folder.

    torchvision unpacks next to the archives; therefore it gets links in a temporary folder.
    """
    from torchvision.datasets.utils import check_integrity

    with TemporaryDirectory(prefix="skipsearch-") as scratch:
        for archive, md5 in archives:
            # torchvision would download such an archive again, and overwrite it through the link.
            if not check_integrity(root / archive, md5):
                raise ValueError(f"the MD5 sum of {archive} is not {md5}")
            link = Path(scratch) / archive
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((root / archive).resolve())
        return _read(kind, Path(scratch), download=True)
