"""Loading: a name or a path -> data on a device, checked, resized, and divided into splits."""

import re
from dataclasses import replace
from pathlib import Path

import torch

from skipsearch.data.arrays import read_npz
from skipsearch.data.device import find_device
from skipsearch.data.dividing import three_splits
from skipsearch.data.duplicates import find_duplicates
from skipsearch.data.fingerprint import fingerprint
from skipsearch.data.folders import read_folder
from skipsearch.data.images import Data
from skipsearch.data.known import DATASETS, read_known
from skipsearch.data.paths import path_of
from skipsearch.data.source import Read
from skipsearch.data.squares import square
from skipsearch.data.summaries import balance, mean_and_std
from skipsearch.errors import DataError, not_one_of
from skipsearch.plan import ImageSize

LONGEST_SHOWN = 300  # characters of a path


def load_data(
    name: str | Path,
    root: str | Path | None = None,
    device: str | torch.device = "cpu",
    image_size: ImageSize | None = None,
    split_seed: int = 0,
    validation_fraction: float | None = None,
    download: bool = True,
) -> Data:
    """Load a data set onto a device and split it.

    The test images of a source are the test split, unchanged. Without them it is a stratified 20 %
    of all images, the same ones for every `split_seed`. Validation images are drawn from the rest,
    stratified, unless the source has some.

    Args:
        name: Word of `DATASETS`, or path to one of the following. A text that is such a word is
            never a path, whatever is in the working directory (write ./digits, or pass a `Path`),
            and a `Path` is always a path.

            - a folder of images, ROOT/CLASS/*.png, or ROOT/train/CLASS/*.png with ROOT/test and
              ROOT/val, both optional and in any usual spelling (Training, test_set, validation).
              Images are converted to RGB; `image_size` is required.
            - an .npz file of train_images, train_labels, test_images, test_labels and optionally
              val_images, val_labels, class_names: images uint8 (N, H, W), (N, H, W, C) or
              (N, C, H, W), labels integers from 0 on, or texts, (N,) or (N, 1).
        root: Folder of torchvision's data sets, by default ~/.cache/skipsearch/data. Only
            downloads write to it: archives there that are not unpacked are unpacked temporarily
            elsewhere.
        device: Device of the tensors.
        image_size: Side of resized images in pixels: the shorter side is resized (bilinear,
            antialiased), the longer one is cropped at the centre.
        split_seed: Seed of the division into train and validation, in 0..2**32 - 1.
        validation_fraction: Share of validation images: by default 0.1 of the training images
            if the source has test images, and otherwise 0.2 of all images.
        download: Whether torchvision may download missing files.

    Returns:
        Data with images (N, C, H, W) uint8 and labels (N,) int64 on `device`.

    Raises:
        DataError: If the name, the device, a number, or the data are not as described above.
    """
    find_device(device)
    if image_size is not None and not (
        isinstance(image_size, int) and _is_whole(image_size) and image_size >= 1
    ):
        raise DataError(f"image_size {image_size!r} is not a number of pixels, 1 or more")
    if not (_is_whole(split_seed) and 0 <= split_seed < 2**32):
        raise DataError(f"split_seed {split_seed!r} is not in 0..{2**32 - 1}")

    known = isinstance(name, str) and name in DATASETS
    path = None if known else path_of(name, "data")
    name = str(name)
    try:
        read = _read(name, path, root, image_size, download)
    except OSError as error:
        where = str(error.filename or name)
        where = where if len(where) <= LONGEST_SHOWN else f"{where[:LONGEST_SHOWN]}..."
        raise DataError(f"{where}: {error.strerror or error}") from None

    height, width = read.parts["train"].images.shape[2:]
    parts = {part: square(name, split, image_size) for part, split in read.parts.items()}
    train, validation, test, remark = three_splits(
        name, parts, read.class_names, split_seed, validation_fraction
    )
    remarks = [read.source, remark, balance(read.parts["train"].labels, read.class_names)]
    if (height, width) != train.images.shape[2:]:
        remarks.append(f"resized from {height}x{width} pixels")
    splits = {"train": train, "validation": validation, "test": test}
    duplicates = find_duplicates(splits)
    if duplicates.distinct["train"] == 1:
        raise DataError(f"{name}: all {len(train):,} training images are the same picture")
    notes = replace(
        read.notes,
        repeated=duplicates.repeated,
        contradictory=duplicates.contradictory,
        sizes={part: len(split) for part, split in splits.items()},
    )
    mean, std = mean_and_std(train.images)
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
        source="; ".join(filter(None, [*remarks, *notes.remarks()])),
        fingerprint=fingerprint({part: (s.images, s.labels) for part, s in splits.items()}),
        path=path,
        notes=notes,
    ).to(device)


def _read(
    name: str, path: Path | None, root: str | Path | None, image_size: int | None, download: bool
) -> Read:
    """Read the source of a name or a path."""
    if path is None:
        return read_known(name, root, download)
    if path.is_dir():
        return read_folder(path, image_size)
    if path.is_file():
        return read_npz(path)
    plain = re.sub(r"[\W_]", "", name).lower()  # CIFAR-10, FashionMNIST
    meant = [word for word in DATASETS if word.replace("-", "") == plain]
    unknown = not_one_of(name, DATASETS)
    if meant and "did you mean" not in unknown:
        unknown += f" (did you mean {meant[0]!r}?)"
    raise DataError(f"data {unknown}, and there is no folder or .npz file {path}")


def _is_whole(number: object) -> bool:
    return isinstance(number, int) and not isinstance(number, bool)
