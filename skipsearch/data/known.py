"""The data sets with a name: those in scikit-learn, and those that torchvision reads."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from skipsearch.data.paths import path_of
from skipsearch.data.source import Read, split_of_arrays
from skipsearch.data.stored import Arrays, read_stored

DEFAULT_ROOT = Path("~/.cache/skipsearch/data")


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A data set with a name.

    Attributes:
        source: Origin of the data.
        augmentation: Convention, as in `Data.augmentation`.
        kind: Name of the torchvision class that reads it; None for data in scikit-learn.
    """

    source: str
    augmentation: dict[str, int | bool]
    kind: str | None = None


# The conventions: CIFAR as He et al. 2015, arXiv:1512.03385, section 4.2; Fashion-MNIST as Zhong
# et al. 2017 (random erasing), arXiv:1708.04896, and its code; mirrored digits are not digits, so
# SVHN is only cropped, and MNIST, which has a margin of 4 pixels, is cropped less.
DATASETS: dict[str, _Known] = {
    "digits": _Known(
        source="scikit-learn's embedded digits (1,797 test images of UCI's optical recognition of "
        "handwritten digits), 0..16 scaled to 0..255",
        augmentation={"crop": 0, "flip": False, "cutout": 0},
    ),
    "cifar10": _Known(
        source="CIFAR-10 (Krizhevsky 2009)",
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        kind="CIFAR10",
    ),
    "cifar100": _Known(
        source="CIFAR-100 with its fine labels (Krizhevsky 2009)",
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        kind="CIFAR100",
    ),
    "fashion-mnist": _Known(
        source="Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747)",
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        kind="FashionMNIST",
    ),
    "mnist": _Known(
        source="MNIST (LeCun et al. 1998)",
        augmentation={"crop": 2, "flip": False, "cutout": 0},
        kind="MNIST",
    ),
    "svhn": _Known(
        source="SVHN without its extra images (Netzer et al. 2011)",
        augmentation={"crop": 4, "flip": False, "cutout": 0},
        kind="SVHN",
    ),
}


def read_known(name: str, root: str | Path | None, download: bool) -> Read:
    """Read a word of `DATASETS`.

    Args:
        name: Word of `DATASETS`.
        root: Folder of torchvision's data sets; None for the default.
        download: Whether torchvision may download missing files.

    Raises:
        DataError: If it cannot be read, or is missing and may not be downloaded.
    """
    known = DATASETS[name]
    if known.kind is None:
        where, arrays = name, _digits()
    else:
        folder = path_of(DEFAULT_ROOT if root is None else root, "data-root")
        where, arrays = f"{name} in {folder}", read_stored(name, known.kind, folder, download)
    return Read(
        parts={
            part: split_of_arrays(f"{where}: {part}", images, labels, arrays.class_names)
            for part, (images, labels) in arrays.parts.items()
        },
        class_names=arrays.class_names,
        augmentation=known.augmentation,
        source=known.source,
    )


def _digits() -> Arrays:
    from sklearn.datasets import load_digits  # slower than torch

    digits = load_digits()
    images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    return Arrays({"train": (images, digits.target)}, tuple("0123456789"))
