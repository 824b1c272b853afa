"""Image data as values: splits of uint8 tensors on one device, and information about them."""

import math
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from skipsearch.data.device import find_device
from skipsearch.data.fingerprint import hash_of
from skipsearch.data.memory import GIB
from skipsearch.data.notes import Notes
from skipsearch.data.summaries import describe_labels, describe_masks
from skipsearch.errors import DataError
from skipsearch.plan import ImageSize, Size
from skipsearch.task import CLASSIFICATION, Task

IGNORED = 255  # value of mask pixels that no loss or metric counts


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on one device.

    Attributes:
        images: Images (N, C, H, W), uint8.
        labels: Labels (N,), int64, each in 0..classes - 1; for segmentation masks (N, H, W), uint8,
            with a class or ``IGNORED`` for each pixel.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        assert self.images.ndim == 4, "expected (N, C, H, W)"
        assert self.images.dtype == torch.uint8, "expected uint8 images"
        count, _, height, width = self.images.shape
        masks = self.labels.ndim == 3
        assert self.labels.dtype == (torch.uint8 if masks else torch.int64), "expected these types"
        shape = (count, height, width) if masks else (count,)
        assert self.labels.shape == shape, "expected one label for each image or pixel"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: str | torch.device) -> "Split":
        """Return the same split on another device.

        Raises:
            DataError: If the device does not exist here.
        """
        known = find_device(device)
        return Split(self.images.to(known), self.labels.to(known))


@dataclass(frozen=True, kw_only=True, eq=False)
class Data:
    """A data set with its splits, on one device.

    Attributes:
        name: Requested name: a word of `DATASETS` or a path.
        train: Images for the training of networks.
        validation: Images for the comparison of designs.
        test: Images that do not affect any choice; None if they were removed.
        class_names: Name of each label; empty for denoising of images without classes.
        mean: Mean of each channel of the training images, in units of 0..1.
        std: Standard deviation of each channel, in the same units; one grey level if constant.
        split_seed: Seed of the division into train and validation.
        augmentation: Convention of this data set, as the keywords of `augment`: crop (pixels of
            padding), flip (yes or no), cutout (side in pixels).
        source: Origin in one sentence, with anything missing or unusual.
        fingerprint: 16 hex digits of a BLAKE2b hash of the images and labels of every split.
        path: Absolute path of the folder or file; None for a word of `DATASETS`.
        notes: What was skipped or looks wrong.
        task: Task of the networks.
        sigma: Standard deviation of the noise that denoising removes, in grey levels of 0..255; 0
            for other tasks.
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
    notes: Notes = field(default_factory=Notes)
    task: Task = CLASSIFICATION
    sigma: float = 0.0

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def outputs(self) -> int:
        """Number of outputs of a network, for each image or for each of its pixels."""
        return self.in_channels if self.task.restores else self.classes

    @property
    def in_channels(self) -> int:
        """Number of channels of an image."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> ImageSize:
        """Side of square images in pixels, or height and width."""
        return Size(*self.train.images.shape[2:]).image_size

    def to(self, device: str | torch.device) -> "Data":
        """Return the same data on another device.

        Raises:
            DataError: If the device does not exist here, or has too little memory.
        """
        try:
            test = None if self.test is None else self.test.to(device)
            train, validation = self.train.to(device), self.validation.to(device)
        except torch.OutOfMemoryError:
            size = sum(split.images.nbytes for split in self._splits().values())
            raise DataError(
                f"{self.name}: the images take {size / GIB:.1f} GiB, for which {device} has no room"
            ) from None
        return replace(self, train=train, validation=validation, test=test)

    def summary(self) -> str:
        """Return a readable summary of a few lines.

        It has the classes and the size of an image, the number of images of each split, the
        smallest class, for masks the share of pixels of each class and of ignored ones, for
        denoising the noise and the score of the noisy images, and, if there is any, what was
        skipped or looks wrong.
        """
        splits = self._splits()
        size = f"{self.in_channels} x {Size.of(self.image_size)}"
        what = [f"{self.classes} classes"]
        if self.task.restores:
            what = [self.task.name, f"sigma {self.sigma:g}"]
        elif self.task.per_pixel:
            what = [self.task.name, *what]
        lines = [
            f"data {self.name}: {', '.join(what)}, images of {size}",
            f"images: {', '.join(f'{len(split):,} {name}' for name, split in splits.items())}",
        ]
        if self.task.restores:
            lines.append(f"noisy images, nothing done: PSNR {noise_psnr(self.sigma):.2f} dB")
        else:
            describe = describe_masks if self.task.per_pixel else describe_labels
            labels = {name: split.labels for name, split in splits.items()}
            lines += describe(labels, self.class_names)
        if left_out := self.notes.left_out():
            lines.append(f"left out: {left_out}")
        lines += [f"note: {warning}" for warning in self.notes.warnings()]
        return "\n".join(lines)

    def _splits(self) -> dict[str, Split]:
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in splits.items() if split is not None}

    def without_test(self) -> "Data":
        """Return the data without its test split, as required for a search.

        The fingerprint stays, since train and validation are from the same data set.
        """
        return replace(self, test=None)

    def with_validation_in_training(self) -> "Data":
        """Return the data with the validation images added to the training images.

        This is for the final training of a winner. The validation split is kept for reference but
        is no longer held out: a network trained on this data has seen it. `mean` and `std` stay,
        so that every network of a run has the same inputs; source and fingerprint show the change.
        """
        return replace(
            self,
            train=Split(
                torch.cat([self.train.images, self.validation.images]),
                torch.cat([self.train.labels, self.validation.labels]),
            ),
            source=f"{self.source}; the validation images are trained on too",
            fingerprint=hash_of([b"validation in training", self.fingerprint.encode()]),
        )


def noise_psnr(sigma: float) -> float:
    """Return the PSNR in dB of images with noise of a standard deviation in grey levels."""
    return 20 * math.log10(255 / sigma)
