"""The fingerprint of a data set: a hash of its images and labels, split by split."""

import hashlib
from collections.abc import Iterable, Mapping

from torch import Tensor


def fingerprint(splits: Mapping[str, tuple[Tensor, Tensor]]) -> str:
    """Hash all images and labels, with the split of each.

    Args:
        splits: Images and labels of each split, by name.
    """
    pieces: list[bytes | memoryview] = []
    for name, (images, labels) in splits.items():
        pieces += [f"{name} {tuple(images.shape)}".encode()]
        pieces += [tensor.contiguous().numpy().data for tensor in (images, labels)]
    return hash_of(pieces)


def hash_of(pieces: Iterable[bytes | memoryview]) -> str:
    """Return the BLAKE2b hash of some bytes, as 16 hexadecimal digits."""
    digest = hashlib.blake2b(digest_size=8)
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
