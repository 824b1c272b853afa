"""The fingerprint of a data set: a hash of its images, labels and groups, and of its task."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

import numpy as np
import torch

from skipsearch.data.mapped import Images, chunks
from skipsearch.data.pixels import pixel_type
from skipsearch.data.source import Array
from skipsearch.task import CLASSIFICATION, Task


def fingerprint(
    splits: Mapping[str, tuple[Images, Images]],
    task: Task,
    sigma: float,
    groups: Array | None = None,
) -> str:
    """Hash all images and labels, with the split of each, the type of pixels and the task.

    For uint8 pixels, for classification and without groups nothing is added, so that old
    fingerprints stay valid.

    Args:
        splits: Images and labels of each split, by name.
        task: Task of the networks.
        sigma: Standard deviation of the noise; 0 for other tasks than denoising.
        groups: Group of each image that is divided into folds, (N,); None if every image is its own
            group. Their names have no effect.
    """
    return hash_of(chain(_pieces(splits, task, sigma), _pieces_of_groups(groups)))


def _pieces_of_groups(groups: Array | None) -> Iterator[bytes | memoryview]:
    """Yield the bytes of the number of each image's group, counted in the order of the images."""
    if groups is not None:
        _, first, group = np.unique(groups, return_index=True, return_inverse=True)
        yield b"groups"
        yield first.argsort().argsort()[group].astype(np.int64).data


def _pieces(
    splits: Mapping[str, tuple[Images, Images]], task: Task, sigma: float
) -> Iterator[bytes | memoryview]:
    """Yield the bytes that are hashed."""
    if task.name != CLASSIFICATION.name:
        yield f"{task.name} {sigma!r}".encode()
    for name, (images, labels) in splits.items():
        kind = "" if images.dtype == torch.uint8 else f" {pixel_type(images)}"
        yield f"{name} {tuple(images.shape)}{kind}".encode()
        for chunk in chain(chunks(images), chunks(labels)):
            yield chunk.numpy().data


def hash_of(pieces: Iterable[bytes | memoryview]) -> str:
    """Return the BLAKE2b hash of some bytes, as 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
