"""The named data sets: those created without files, and those that torchvision reads."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from skipsearch.data.digits import read_digits
from skipsearch.data.paths import cache_home, path_of
from skipsearch.data.source import Read, images_of, split_of_arrays, split_of_masks
from skipsearch.data.stored import Arrays, read_stored
from skipsearch.data.synthetic import digits_segmentation
from skipsearch.task import CLASSIFICATION, SEGMENTATION, Task


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A named data set.

    Attributes:
        source: Origin of the data.
        augmentation: Convention, as in `Data.augmentation`.
        kind: Name of the torchvision class that reads it; None for other data sets.
        make: Function that creates it without files; None for data sets of torchvision.
        task: Task of its labels.
    """

    source: str
    augmentation: dict[str, int | bool]
    kind: str | None = None
    make: Callable[[], Arrays] | None = None
    task: Task = CLASSIFICATION


def _digits_seg() -> Arrays:
    """Return the synthetic images and masks of digits."""
    arrays = digits_segmentation()
    parts = {"train": "train", "val": "validation", "test": "test"}
    return Arrays(
        {
            part: (arrays[f"{prefix}_images"], arrays[f"{prefix}_masks"])
            for prefix, part in parts.items()
        },
        tuple(arrays["class_names"].tolist()),
    )


# Conventions of augmentation: CIFAR as in He et al. 2015, arXiv:1512.03385, section 4.2;
# Fashion-MNIST as in Zhong et al. 2017 (random erasing), arXiv:1708.04896, and its code. Mirrored
# digits are not digits, so SVHN is only cropped; MNIST, with a margin of 4 pixels, is cropped less.
DATASETS: dict[str, _Known] = {
    "digits": _Known(
        source="scikit-learn's embedded digits (1,797 test images of UCI's optical recognition of "
        "handwritten digits), 0..16 scaled to 0..255",
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        make=read_digits,
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
    "digits-seg": _Known(
        source="synthetic: scikit-learn's embedded digits on textured backgrounds",
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        make=_digits_seg,
        task=SEGMENTATION,
    ),
}


def read_known(name: str, root: str | Path | None, download: bool) -> Read:
    """Read a named data set.

    Args:
        name: Word of `DATASETS`.
        root: Folder of torchvision's data sets; None for the default.
        download: Whether torchvision may download missing files.

    Raises:
        DataError: If it cannot be read, or is missing and may not be downloaded.
    """
    known = DATASETS[name]
    if known.make is not None:
        where, arrays = name, known.make()
    else:
        assert known.kind is not None, "made or stored"
        folder = path_of(cache_home() / "data" if root is None else root, "data-root")
        where, arrays = f"{name} in {folder}", read_stored(name, known.kind, folder, download)
    parts = {}
    for part, (pixels, labels) in arrays.parts.items():
        images = images_of(pixels)
        place = f"{where}: {part}"
        if known.task.per_pixel:
            parts[part] = split_of_masks(place, images, torch.from_numpy(labels))
        else:
            parts[part] = split_of_arrays(place, images, labels, arrays.class_names)
    return Read(
        parts=parts,
        class_names=arrays.class_names,
        augmentation=known.augmentation,
        source=known.source,
        task=known.task,
    )
