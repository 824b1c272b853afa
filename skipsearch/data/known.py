"""The data sets with a name: what scikit-learn embeds, and what torchvision reads or downloads.

scikit-learn and torchvision are imported where they are used: together they take longer than torch
and would be paid for by everything that imports this room.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from skipsearch.data.paths import path_of
from skipsearch.data.source import Array, Read, split_of_arrays
from skipsearch.errors import DataError, reason

DEFAULT_ROOT = Path("~/.cache/skipsearch/data")

# For each part images (N, H, W) or (N, H, W, C) and labels (N,), and the names of the classes.
_Parts = tuple[dict[str, tuple[Array, Array]], tuple[str, ...]]


@dataclass(frozen=True, kw_only=True)
class _Known:
    """How a data set with a name is loaded.

    Attributes:
        source: where it comes from.
        augmentation: its convention, as in `Data.augmentation`.
        kind: the torchvision class that reads it; None for what scikit-learn embeds.
        files: what that class reads below its root.
        archives: what it unpacks them from, with the MD5 sums that it expects.
    """

    source: str
    augmentation: dict[str, int | bool]
    kind: str | None = None
    files: tuple[str, ...] = ()
    archives: tuple[tuple[str, str], ...] = ()


# The conventions: CIFAR as He et al. 2015, arXiv:1512.03385, section 4.2; Fashion-MNIST as Zhong
# et al. 2017 (random erasing), arXiv:1708.04896, and its code; a digit has no mirror image, so
# SVHN is only cropped, and MNIST, with its own margin of 4 pixels, is cropped by less.
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
        files=(
            "cifar-10-batches-py/data_batch_1",
            "cifar-10-batches-py/data_batch_2",
            "cifar-10-batches-py/data_batch_3",
            "cifar-10-batches-py/data_batch_4",
            "cifar-10-batches-py/data_batch_5",
            "cifar-10-batches-py/test_batch",
            "cifar-10-batches-py/batches.meta",
        ),
        archives=(("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
    ),
    "cifar100": _Known(
        source="CIFAR-100 with its fine labels (Krizhevsky 2009)",
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        kind="CIFAR100",
        files=("cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"),
        archives=(("cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
    ),
    "fashion-mnist": _Known(
        source="Fashion-MNIST (Xiao et al. 2017, arXiv:1708.07747)",
        augmentation={"crop": 4, "flip": True, "cutout": 0},
        kind="FashionMNIST",
        files=(
            "FashionMNIST/raw/train-images-idx3-ubyte",
            "FashionMNIST/raw/train-labels-idx1-ubyte",
            "FashionMNIST/raw/t10k-images-idx3-ubyte",
            "FashionMNIST/raw/t10k-labels-idx1-ubyte",
        ),
        archives=(
            ("FashionMNIST/raw/train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d"),
            ("FashionMNIST/raw/train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe"),
            ("FashionMNIST/raw/t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79"),
            ("FashionMNIST/raw/t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310"),
        ),
    ),
    "mnist": _Known(
        source="MNIST (LeCun et al. 1998)",
        augmentation={"crop": 2, "flip": False, "cutout": 0},
        kind="MNIST",
        files=(
            "MNIST/raw/train-images-idx3-ubyte",
            "MNIST/raw/train-labels-idx1-ubyte",
            "MNIST/raw/t10k-images-idx3-ubyte",
            "MNIST/raw/t10k-labels-idx1-ubyte",
        ),
        archives=(
            ("MNIST/raw/train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873"),
            ("MNIST/raw/train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432"),
            ("MNIST/raw/t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3"),
            ("MNIST/raw/t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c"),
        ),
    ),
    "svhn": _Known(
        source="SVHN without its extra images (Netzer et al. 2011)",
        augmentation={"crop": 4, "flip": False, "cutout": 0},
        kind="SVHN",
        files=("train_32x32.mat", "test_32x32.mat"),
    ),
}


def read_known(name: str, given_root: str | Path | None, download: bool) -> Read:
    """Read a word of `DATASETS`: from its files, or from its archives, or from the internet."""
    known = DATASETS[name]
    root = Path()  # of what is embedded: nothing is read there, and no home folder is needed
    if known.kind is not None:
        root = path_of(DEFAULT_ROOT if given_root is None else given_root, "data-root")
    other = "name another folder with --data-root (root)"
    unpacked = all((root / file).is_file() for file in known.files)
    packed = bool(known.archives) and all((root / file).is_file() for file, _ in known.archives)
    if not (unpacked or packed or download):
        raise DataError(f"{name} is not in {root} and may not be downloaded: {other}")
    try:
        if unpacked:
            parts, class_names = _arrays(known, root)
        elif packed:
            parts, class_names = _arrays_of_archives(known, root)
        else:
            parts, class_names = _arrays(known, root, download=True)
    except Exception as error:  # torchvision, scipy and the network raise many kinds
        if unpacked or packed:
            trouble, mend = "unreadable", f"mend or delete it, or {other}"
        else:
            trouble, mend = "missing and cannot be downloaded", other
        raise DataError(f"{name} in {root} is {trouble} ({reason(error)}): {mend}") from None
    return Read(
        parts={
            part: split_of_arrays(f"{name} in {root}: {part}", images, labels, class_names)
            for part, (images, labels) in parts.items()
        },
        class_names=class_names,
        augmentation=known.augmentation,
        source=known.source,
    )


def _arrays(known: _Known, root: Path, download: bool = False) -> _Parts:
    """Read what is embedded, or lies unpacked below a root, or can be downloaded to there."""
    class_names = tuple("0123456789")  # of the two sources that have no names
    if known.kind is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": (images, digits.target)}, class_names

    from torchvision import datasets

    kind = getattr(datasets, known.kind)
    parts: dict[str, tuple[Array, Array]] = {}
    for part in ("train", "test"):
        if known.kind == "SVHN":
            side = kind(root, split=part, download=download)
            parts[part] = side.data.transpose(0, 2, 3, 1), side.labels
        else:
            side = kind(root, train=part == "train", download=download)
            parts[part] = np.asarray(side.data), np.asarray(side.targets)
            class_names = tuple(side.classes)
    return parts, class_names


def _arrays_of_archives(known: _Known, root: Path) -> _Parts:
    """Read archives that are not unpacked, and leave their folder as it is.

    torchvision unpacks beside the archives; so it is shown links to them in a folder of our own.
    """
    from torchvision.datasets.utils import check_integrity

    with TemporaryDirectory(prefix="skipsearch-") as scratch:
        for archive, md5 in known.archives:
            # torchvision would download such an archive anew, and write it through the link.
            if not check_integrity(root / archive, md5):
                raise ValueError(f"the MD5 sum of {archive} is not {md5}")
            link = Path(scratch) / archive
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to((root / archive).resolve())
        return _arrays(known, Path(scratch), download=True)
