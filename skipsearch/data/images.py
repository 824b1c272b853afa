"""Image data sets, each loaded once into uint8 tensors on the device, with splits that stay put.

Reading, checking and splitting live here; what is done to a batch lives in augment.py.
scikit-learn and torchvision are imported where they are used: together they take longer than torch
and would be paid for by everything that imports this room.
"""

import hashlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from skipsearch.data.pictures import fit, read_picture
from skipsearch.errors import DataError, not_one_of, reason

DEFAULT_ROOT = Path("~/.cache/skipsearch/data")

# Of a source without test images this share of all images becomes the test split, drawn with a
# seed of its own: another split_seed must not turn test images into training images.
TEST_FRACTION = 0.2
TEST_SEED = 0

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm")


# --- what the rest of the package sees -----------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on one device.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64, each in 0..classes - 1.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.ndim == 4, "expected (N, C, H, W)"
        assert self.images.dtype == torch.uint8, "expected uint8 images"
        assert self.labels.dtype == torch.int64, "expected int64 labels"
        assert self.labels.shape == self.images.shape[:1], "expected one label for each image"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "Split":
        """Return the same split on another device.

        Raises:
            DataError: the device does not exist here.
        """
        known = _device(device)
        return Split(self.images.to(known), self.labels.to(known))


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set with its splits, on one device.

    Attributes:
        name: what it was asked for by: a word of `DATASETS` or a path.
        train: the images that networks are trained on.
        validation: the images that designs are compared on.
        test: the images that nothing is chosen by; None where they were taken away.
        class_names: one name for each label.
        mean: the mean of each channel of the training images, in units of 0..1.
        std: their deviation, likewise; of a channel that never changes, one grey level.
        split_seed: the seed of the border between train and validation.
        augmentation: the convention of this data set, as the keywords of `augment`: crop (pixels
            of padding), flip (yes or no), cutout (side in pixels).
        source: one sentence: where it came from, and anything missing or unusual.
        fingerprint: 16 hex digits of a BLAKE2b hash of the images and labels of every split.
        path: absolute path of the folder or file that was read; None for a word of `DATASETS`.
    """

    name: str
    train: Split
    validation: Split
    test: Split | None
    class_names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    split_seed: int
    augmentation: dict[str, int | bool]
    source: str
    fingerprint: str
    path: Path | None = None

    @property
    def classes(self) -> int:
        """The number of classes."""
        return len(self.class_names)

    @property
    def in_channels(self) -> int:
        """The number of channels of an image."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """The side of an image in pixels; images are square."""
        return self.train.images.shape[2]

    def to(self, device: str | torch.device) -> "Data":
        """Return the same data on another device.

        Raises:
            DataError: the device does not exist here.
        """
        test = None if self.test is None else self.test.to(device)
        train, validation = self.train.to(device), self.validation.to(device)
        return replace(self, train=train, validation=validation, test=test)

    def without_test(self) -> "Data":
        """Return the data without its test split: all that a search may see.

        The fingerprint stays, since train and validation are those of the same data set.
        """
        return replace(self, test=None)

    def with_validation_in_training(self) -> "Data":
        """Return the data with the validation images joined to the training images.

        This is for the final training of a winner. The validation split is kept for reference but
        is no longer held out: a network trained on this data has seen it. `mean` and `std` stay,
        so that every network of a run sees the same inputs; source and fingerprint tell of it.
        """
        return replace(
            self,
            train=Split(
                torch.cat([self.train.images, self.validation.images]),
                torch.cat([self.train.labels, self.validation.labels]),
            ),
            source=f"{self.source}; the validation images are trained on too",
            fingerprint=_hash([b"validation in training", self.fingerprint.encode()]),
        )


def load_data(
    name: str | Path,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    image_size: int | None = None,
    split_seed: int = 0,
    validation_fraction: float | None = None,
    download: bool = True,
) -> Data:
    """Load a data set onto a device and split it.

    Where a source has test images of its own they are the test split, untouched; elsewhere a
    stratified 20 % of all images are, the same ones for every `split_seed`. Validation images are
    drawn, stratified, from what remains, unless a folder brings its own.

    Args:
        name: a word of `DATASETS`, or else a path to one of the following. A text that is such a
            word is never a path, whatever lies in the working directory (write ./digits, or give
            a `Path`), and a `Path` is always one.

            - a folder of images, ROOT/CLASS/*.png, or ROOT/train/CLASS/*.png beside ROOT/test and
              ROOT/val (or ROOT/validation), both optional. Images become RGB; `image_size` is
              required.
            - an .npz file of train_images, train_labels, test_images, test_labels and optionally
              class_names: images uint8 (N, H, W) or (N, H, W, C), labels integers (N,).
        root: the folder in which torchvision keeps its data sets, by default
            ~/.cache/skipsearch/data. It is written to only by a download: archives that lie there
            unpacked are unpacked elsewhere, for the moment.
        device: where the tensors shall live.
        image_size: the side in pixels to which images are brought: the shorter side is resized
            (bilinear, antialiased), the middle of the longer one is kept.
        split_seed: moves the border between train and validation, in 0..2**32 - 1.
        validation_fraction: the share of validation images: by default 0.1 of the training images
            where the test images are the source's own, and 0.2 of all images elsewhere.
        download: whether torchvision may download what is not there.

    Returns:
        The data, with images (N, C, H, W) uint8 and labels (N,) int64 on `device`.

    Raises:
        DataError: the name, the device, a number, or the data themselves are not as said above.
    """
    _device(device)
    if image_size is not None and image_size < 1:
        raise DataError(f"image_size {image_size} is not a number of pixels, 1 or more")
    if not 0 <= split_seed < 2**32:
        raise DataError(f"split_seed {split_seed} is not in 0..{2**32 - 1}")

    path = None if name in DATASETS else Path(name).expanduser().absolute()
    name = str(name)
    if path is None:
        read = _read_known(name, Path(root or DEFAULT_ROOT).expanduser(), download)
    elif path.is_dir():
        read = _read_folder(path, image_size)
    elif path.is_file():
        read = _read_npz(path)
    else:
        raise DataError(
            f"data {not_one_of(name, DATASETS)}, and there is no folder or .npz file {path}"
        )

    height, width = read.parts["train"].images.shape[2:]
    parts = {part: _square(name, split, image_size) for part, split in read.parts.items()}
    train, validation, test, remark = _three_splits(
        name, parts, read.class_names, split_seed, validation_fraction
    )
    remarks = [read.source, remark, _balance(read.parts["train"].labels, read.class_names)]
    if (height, width) != train.images.shape[2:]:
        remarks.append(f"resized from {height}x{width} pixels")
    mean, std = _mean_and_std(train.images)
    return Data(
        name=name,
        train=train,
        validation=validation,
        test=test,
        class_names=read.class_names,
        mean=mean,
        std=std,
        split_seed=split_seed,
        augmentation=dict(read.augmentation),
        source="; ".join(filter(None, remarks)),
        fingerprint=_fingerprint(train, validation, test),
        path=path,
    ).to(device)


# --- the sources ---------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Read:
    """A source as it was read: its parts, of which only "train" is always there."""

    parts: dict[str, Split]
    class_names: tuple[str, ...]
    augmentation: dict[str, int | bool]
    source: str


# For each part images (N, H, W) or (N, H, W, C) and labels (N,), and the names of the classes.
_Array = np.ndarray[Any, np.dtype[Any]]
_Arrays = tuple[dict[str, tuple[_Array, _Array]], tuple[str, ...]]


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


def _read_known(name: str, root: Path, download: bool) -> _Read:
    """Read a word of `DATASETS`: from its files, or from its archives, or from the internet."""
    known = DATASETS[name]
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
    return _Read(
        parts={
            part: _split(f"{name} in {root}: {part}", images, labels, class_names)
            for part, (images, labels) in parts.items()
        },
        class_names=class_names,
        augmentation=known.augmentation,
        source=known.source,
    )


def _arrays(known: _Known, root: Path, download: bool = False) -> _Arrays:
    """Read what is embedded, or lies unpacked below a root, or can be downloaded to there."""
    class_names = tuple("0123456789")  # of the two sources that have no names
    if known.kind is None:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.rint(digits.images * (255 / 16)).astype(np.uint8)
        return {"train": (images, digits.target)}, class_names

    from torchvision import datasets

    kind = getattr(datasets, known.kind)
    parts: dict[str, tuple[_Array, _Array]] = {}
    for part in ("train", "test"):
        if known.kind == "SVHN":
            side = kind(root, split=part, download=download)
            parts[part] = side.data.transpose(0, 2, 3, 1), side.labels
        else:
            side = kind(root, train=part == "train", download=download)
            parts[part] = np.asarray(side.data), np.asarray(side.targets)
            class_names = tuple(side.classes)
    return parts, class_names


def _arrays_of_archives(known: _Known, root: Path) -> _Arrays:
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


def _read_folder(folder: Path, image_size: int | None) -> _Read:
    """Read a folder of images, with or without folders for the splits."""
    if image_size is None:
        raise DataError(f"{folder}: a folder of images needs image_size, their side in pixels")
    inside = _folders(folder)
    if not inside:
        raise DataError(f"{folder}: no folders in it, expected CLASS/*.png or train/CLASS/*.png")
    places = {"train": folder}
    if {"train", "test", "val", "validation"} & set(inside):
        for word in inside:
            if word not in ("train", "test", "val", "validation"):
                splits = not_one_of(word, ("train", "test", "val", "validation"))
                raise DataError(f"{folder}: {splits}, and classes cannot lie beside splits")
        if "train" not in inside:
            raise DataError(f"{folder}: {', '.join(inside)} but no train folder")
        if {"val", "validation"} <= set(inside):
            raise DataError(f"{folder}: both val and validation, expected one of them")
        places = {{"val": "validation"}.get(word, word): folder / word for word in inside}

    class_names = tuple(_folders(places["train"]))
    if len(class_names) < 2:
        raise DataError(f"{places['train']}: {len(class_names)} class folders, expected 2 or more")
    return _Read(
        parts={
            part: _split_of_folder(place, class_names, image_size) for part, place in places.items()
        },
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the images in {folder}",
    )


def _folders(folder: Path) -> list[str]:
    """The names of the folders in a folder, in order, without the hidden ones."""
    return sorted(
        place.name for place in folder.iterdir() if place.is_dir() and place.name[0] != "."
    )


def _split_of_folder(folder: Path, class_names: tuple[str, ...], image_size: int) -> Split:
    """Read FOLDER/CLASS/*.png."""
    for found in _folders(folder):
        if found not in class_names:
            raise DataError(f"{folder / found}: no such class among the training images")
    paths: list[Path] = []
    labels: list[int] = []
    for label, class_name in enumerate(class_names):
        images_of_class = sorted(
            path
            for path in (folder / class_name).rglob("*")
            if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != "."
        )
        if not images_of_class:
            raise DataError(
                f"{folder / class_name}: no images of this class, expected files that end with "
                f"one of {' '.join(IMAGE_SUFFIXES)}"
            )
        paths += images_of_class
        labels += [label] * len(images_of_class)

    # Filled in place: a list of them and its stack would need the memory twice.
    images = torch.empty(len(paths), 3, image_size, image_size, dtype=torch.uint8)
    with ThreadPoolExecutor() as pool:
        for index, image in enumerate(
            pool.map(lambda path: read_picture(path, 3, image_size), paths)
        ):
            images[index] = image
    return Split(images, torch.tensor(labels))


def _read_npz(path: Path) -> _Read:
    """Read an .npz file of train and test images."""
    keys = ("train_images", "train_labels", "test_images", "test_labels")
    try:
        # numpy leaves a file that it opened itself and cannot read open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            arrays = {key: np.asarray(file[key]) for key in (*keys, "class_names") if key in file}
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise DataError(f"{path}: unreadable as an .npz file ({reason(error)})") from None
    for key in keys:
        if key not in arrays:
            raise DataError(f"{path}: no {key} in it, expected {', '.join(keys)}")
    for key in ("train_images", "test_images"):
        images = arrays[key]
        if images.dtype != np.uint8 or images.ndim not in (3, 4) or 0 in images.shape:
            raise DataError(
                f"{path}: {key} is {images.dtype} {images.shape}, expected uint8 (N, H, W) or "
                "(N, H, W, C), not empty"
            )
    for key in ("train_labels", "test_labels"):
        if arrays[key].dtype.kind not in "iu" or arrays[key].ndim != 1:
            raise DataError(
                f"{path}: {key} is {arrays[key].dtype} {arrays[key].shape}, expected integers (N,)"
            )
    if arrays["train_images"].shape[1:] != arrays["test_images"].shape[1:]:
        raise DataError(
            f"{path}: test_images are {arrays['test_images'].shape[1:]} and train_images "
            f"{arrays['train_images'].shape[1:]}, expected the same size"
        )

    found = np.unique(arrays["train_labels"])
    names = arrays.get("class_names", np.arange(len(found)).astype(str))
    if names.ndim != 1 or names.dtype.kind != "U":
        raise DataError(
            f"{path}: class_names is {names.dtype} {names.shape}, expected one text for each class"
        )
    class_names = tuple(names.tolist())
    if len(class_names) < 2:
        raise DataError(f"{path}: {len(class_names)} classes, expected 2 or more")
    return _Read(
        parts={
            part: _split(
                f"{path}: {part}_labels",
                arrays[f"{part}_images"],
                arrays[f"{part}_labels"],
                class_names,
            )
            for part in ("train", "test")
        },
        class_names=class_names,
        augmentation={"crop": 0, "flip": False, "cutout": 0},
        source=f"the arrays in {path}",
    )


# --- tools ---------------------------------------------------------------------------------------


def _device(device: str | torch.device) -> torch.device:
    """Find a device, with its index where it has one."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        here = ", ".join(["cpu", *(f"cuda:{n}" for n in range(torch.cuda.device_count()))])
        raise DataError(
            f"device {str(device)!r} is not available, expected one of {here} ({reason(error)})"
        ) from None


def _split(where: str, images: _Array, labels: _Array, class_names: tuple[str, ...]) -> Split:
    """Make a split of images (N, H, W) or (N, H, W, C) and labels (N,), once they agree."""
    if len(images) != len(labels):
        raise DataError(f"{where}: {len(labels)} labels for {len(images)} images")
    for label in (labels.min(), labels.max()):
        if not 0 <= label < len(class_names):
            raise DataError(
                f"{where}: label {label} is not in 0..{len(class_names) - 1}, one for each of the "
                f"{len(class_names)} classes"
            )
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    return Split(
        torch.from_numpy(np.ascontiguousarray(images)),
        torch.from_numpy(labels.astype(np.int64)),
    )


def _square(name: str, split: Split, image_size: int | None) -> Split:
    """Bring the images of a split to a size; without one they must be square as they are."""
    height, width = split.images.shape[2:]
    if image_size is None and height != width:
        raise DataError(
            f"{name}: images of {height}x{width} pixels are not square: give image_size"
        )
    if image_size is None or height == width == image_size:
        return split
    height, width, top, left = fit(height, width, image_size)
    squares = []
    for start in range(0, len(split), 256):  # in pieces: as floats they need four times the memory
        piece = split.images[start : start + 256].float()
        piece = F.interpolate(piece, size=(height, width), mode="bilinear", antialias=True)
        piece = piece[:, :, top : top + image_size, left : left + image_size]
        squares.append(piece.round().to(torch.uint8))  # averages of bytes: nothing to clip
    return Split(torch.cat(squares), split.labels)


def _three_splits(
    name: str,
    parts: dict[str, Split],
    class_names: tuple[str, ...],
    split_seed: int,
    validation_fraction: float | None,
) -> tuple[Split, Split, Split, str]:
    """Draw the splits that a source lacks; return train, validation, test, and a remark."""
    train, remark = parts["train"], ""
    share, limit = (0.1, 1.0) if "test" in parts else (0.2, 1.0 - TEST_FRACTION)
    if validation_fraction is not None:
        if "validation" in parts:
            raise DataError(
                f"{name}: validation_fraction {validation_fraction} has no effect, since the "
                "folder has its own validation images"
            )
        if not 0 < validation_fraction < limit:
            raise DataError(
                f"{name}: validation_fraction {validation_fraction} is not between 0 and {limit:g}"
            )
        share = validation_fraction
    places = round(share * len(train))

    if "test" in parts:
        test = parts["test"]
    else:
        train, test = _divide(
            name, train, round(TEST_FRACTION * len(train)), TEST_SEED, class_names
        )
        remark = f"no test split of its own, so a fixed {TEST_FRACTION:.0%} is set aside as one"
    if "validation" in parts:
        validation = parts["validation"]
    else:
        train, validation = _divide(name, train, places, split_seed, class_names)
    return train, validation, test, remark


def _divide(
    name: str, split: Split, places: int, seed: int, class_names: tuple[str, ...]
) -> tuple[Split, Split]:
    """Draw a stratified number of images out of a split; return what is left and what was drawn."""
    from sklearn.model_selection import train_test_split

    labels = split.labels.numpy()
    order = np.arange(len(split))
    counts = np.bincount(labels, minlength=len(class_names))
    try:
        left, drawn = train_test_split(order, test_size=places, stratify=labels, random_state=seed)
    except ValueError:  # scikit-learn's: a class of one image, or fewer places than classes
        left, drawn = order, order[:0]
    for side in (left, drawn):
        if len(np.unique(labels[side])) < len(class_names):
            least = counts.argmin()
            raise DataError(
                f"{name}: class {class_names[least]!r} has {counts[least]} of {len(split)} images, "
                f"too few to set {places} aside with every class on both sides"
            )
    return (
        Split(split.images[left], split.labels[left]),
        Split(split.images[drawn], split.labels[drawn]),
    )


def _balance(labels: Tensor, class_names: tuple[str, ...]) -> str:
    """Say how far the classes differ in size, and nothing where they do not."""
    counts = labels.bincount(minlength=len(class_names)).tolist()
    least, most = counts.index(min(counts)), counts.index(max(counts))
    if counts[least] == counts[most]:
        return ""
    return (
        f"unbalanced, {counts[least]} images of class {class_names[least]!r} to {counts[most]} of "
        f"class {class_names[most]!r}"
    )


def _mean_and_std(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and deviation of each channel in units of 0..1, exact because bytes are counted."""
    levels = torch.arange(256, dtype=torch.float64) / 255
    means, deviations = [], []
    for channel in range(images.shape[1]):
        counts = images[:, channel].flatten().bincount(minlength=256).double()
        share = counts / counts.sum()
        mean = (share * levels).sum()
        means.append(mean.item())
        deviations.append((share * (levels - mean) ** 2).sum().sqrt().item())
    # A channel that never changes has no deviation to divide by.
    return tuple(means), tuple(std if std > 1e-9 else 1 / 255 for std in deviations)


def _fingerprint(train: Split, validation: Split, test: Split) -> str:
    """Hash all images and labels, with the split that each lies in."""
    pieces: list[bytes | memoryview] = []
    for part, split in (("train", train), ("validation", validation), ("test", test)):
        pieces += [f"{part} {tuple(split.images.shape)}".encode()]
        pieces += [tensor.contiguous().numpy().data for tensor in (split.images, split.labels)]
    return _hash(pieces)


def _hash(pieces: Iterable[bytes | memoryview]) -> str:
    """The BLAKE2b hash of some bytes, as 16 hex digits."""
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
