"""A split: images and labels in the memory of one device, or in files that are mapped."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skipsearch.data.device import find_device
from skipsearch.data.mapped import Array, ArrayFile, Images, Mapped, joined
from skipsearch.data.pixels import full_scale

IGNORED = 255  # value of mask pixels that losses and metrics ignore
TYPES = {1: (torch.int64,), 2: (torch.uint8, torch.float64), 3: (torch.uint8,)}  # by axes of labels


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels, on one device.

    Images and masks that do not fit into memory are ``Mapped``: they have a shape, a type and a
    device like a tensor, and are read by `batch` or in chunks.

    Attributes:
        images: Images (N, C, H, W), of a type in ``FULL_SCALES``.
        labels: Labels (N,), int64, each in 0..classes - 1; for segmentation, masks (N, H, W),
            uint8, with a class number or ``IGNORED`` for each pixel; for several labels (N, K),
            uint8, each 0 or 1; for regression, targets (N, K), float64.
    """

    images: Images
    labels: Images

    def __post_init__(self) -> None:
        assert self.images.ndim == 4, "expected (N, C, H, W)"
        assert full_scale(self.images), "expected a known type of pixels"
        count, _, height, width = self.images.shape
        assert self.labels.dtype in TYPES[self.labels.ndim], "expected these types"
        assert len(self.labels) == count, "expected labels for each image"
        if self.labels.ndim == 3:
            assert self.labels.shape[1:] == (height, width), "expected one label for each pixel"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as arrays: PyTorch 2.14 writes uint16 tensors that it cannot read again."""
        return _split_of, (_to_pickle(self.images), _to_pickle(self.labels))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def is_mapped(self) -> bool:
        """Whether its images or masks are read from files when they are needed."""
        return isinstance(self.images, Mapped) or isinstance(self.labels, Mapped)

    def files(self) -> tuple[ArrayFile, ...]:
        """Return the files that it is read from."""
        pair = (self.images, self.labels)
        return tuple(file for each in pair if isinstance(each, Mapped) for file in each.files)

    def in_files(self, found: Mapping[ArrayFile, ArrayFile]) -> "Split":
        """Return the same split, read from other files.

        Args:
            found: New file with the same content for each of its files.
        """
        images, labels = (
            each.in_files(tuple(found[file] for file in each.files))
            if isinstance(each, Mapped)
            else each
            for each in (self.images, self.labels)
        )
        return Split(images, labels)

    @property
    def class_labels(self) -> Tensor:
        """Labels (N,), or several labels or targets (N, K), which are always in memory."""
        assert isinstance(self.labels, Tensor), "expected labels, not mapped masks"
        return self.labels

    @property
    def nbytes(self) -> int:
        """Number of bytes of the images and labels."""
        return self.images.nbytes + self.labels.nbytes

    def batch(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """Return images and labels, the only way in which training and evaluation read them.

        Args:
            index: Index (n,) of each image, on the device of the split, or on the CPU if it is
                mapped.

        Returns:
            Images (n, C, H, W), and labels (n,) or masks (n, H, W), in memory on that device.

        Raises:
            DataError: If a mapped file has changed or is missing.
        """
        return self.images[index], self.labels[index]

    def at(self, rows: Array) -> "Split":
        """Return the split of some of its images; mapped ones are not read.

        Args:
            rows: Index (n,) of each image.
        """
        return Split(_at(self.images, rows), _at(self.labels, rows))

    def followed_by(self, other: "Split") -> "Split":
        """Return the split of its images and of those of another one; mapped ones are not read."""
        return Split(joined(self.images, other.images), joined(self.labels, other.labels))

    def to(self, device: str | torch.device, *, streamed: bool = False) -> "Split":
        """Return the same split on another device.

        Args:
            device: Device of the batches.
            streamed: Whether what is mapped stays in its files, from which batches are copied to
                the device; otherwise all of it is copied there now.

        Raises:
            DataError: If the device does not exist here.
        """
        known = find_device(device)
        images, labels = (
            each.on(known) if streamed and isinstance(each, Mapped) else each.to(known)
            for each in (self.images, self.labels)
        )
        return Split(images, labels)


def _at(images: Images, rows: Array) -> Images:
    return images.at(rows) if isinstance(images, Mapped) else images[rows]


def _to_pickle(images: Images) -> Array | Mapped:
    return images if isinstance(images, Mapped) else images.cpu().numpy()


def _split_of(images: Array | Mapped, labels: Array | Mapped) -> Split:
    """Return a split of copies of arrays, since arrays from Ray are read-only."""
    pair = (each if isinstance(each, Mapped) else each.copy() for each in (images, labels))
    return Split(*(each if isinstance(each, Mapped) else torch.from_numpy(each) for each in pair))
