"""The fingerprint of a data set: a hash of its images and labels, split by split, and its task."""

import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from skipsearch.data.pixels import pixel_type
from skipsearch.task import CLASSIFICATION, Task


def fingerprint(splits: Mapping[str, tuple[Tensor, Tensor]], task: Task, sigma: float) -> str:
    """Hash all images and labels, with the split of each, the type of pixels and the task.

    For uint8 pixels and for classification nothing is added, so that old fingerprints stay valid.

    Args:
        splits: Images and labels of each split, by name.
        task: Task of the networks.
        sigma: Standard deviation of the noise; 0 for other tasks than denoising.
    """
    pieces: list[bytes | memoryview] = []
    if task.name != CLASSIFICATION.name:
        pieces.append(f"{task.name} {sigma!r}".encode())
    for name, (images, labels) in splits.items():
        kind = "" if images.dtype == torch.uint8 else f" {pixel_type(images)}"
        pieces += [f"{name} {tuple(images.shape)}{kind}".encode()]
        pieces += [tensor.contiguous().numpy().data for tensor in (images, labels)]
    return hash_of(pieces)


def hash_of(pieces: Iterable[bytes | memoryview]) -> str:
    """Return the BLAKE2b hash of some bytes, as 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
