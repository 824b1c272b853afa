"""Images that are equal pixel by pixel: in several splits, or with several labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from skipsearch.data.mapped import Array, Images, chunks
from skipsearch.data.split import Split


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Numbers of images that are equal to another one.

    Attributes:
        repeated: Images in two splits, as in `Notes`.
        contradictory: Images with several labels or masks, as in `Notes`.
        distinct: Number of different images of each split.
    """

    repeated: dict[tuple[str, str], int]
    contradictory: int
    distinct: dict[str, int]


Words = np.ndarray[Any, np.dtype[np.uint64]]


def find_duplicates(splits: Mapping[str, Split]) -> Duplicates:
    """Compare all images of a data set, as the networks see them.

    Args:
        splits: Splits by name on the CPU, from the training split to the test split.
    """
    digests = {name: _digests(split.images) for name, split in splits.items()}
    repeated = {
        (later, earlier): int(np.isin(digests[later], digests[earlier]).sum())
        for earlier, later in combinations(splits, 2)
    }
    digest = np.concatenate(list(digests.values()))
    labels = np.concatenate([_label_words(split.labels) for split in splits.values()])
    # Images whose lowest and highest label differ.
    images, inverse = np.unique(digest, return_inverse=True)
    lowest = np.full(len(images), np.iinfo(np.uint64).max)
    highest = np.zeros(len(images), dtype=np.uint64)
    np.minimum.at(lowest, inverse, labels)
    np.maximum.at(highest, inverse, labels)
    return Duplicates(
        repeated={pair: number for pair, number in repeated.items() if number},
        contradictory=int((lowest < highest)[inverse].sum()),
        distinct={name: len(np.unique(found)) for name, found in digests.items()},
    )


def find_in_folds(pool: Split, rows: Sequence[Array], test: Split | None) -> tuple[int, int]:
    """Return the numbers of images in another fold as well, and of test images in any fold.

    Args:
        pool: All images that are divided into folds, on the CPU.
        rows: Rows of each fold.
        test: Test split, on the CPU; None if it was removed.
    """
    digests = _digests(pool.images)
    fold = np.empty(len(pool), dtype=np.int64)
    for number, held in enumerate(rows):
        fold[held] = number
    images, inverse = np.unique(digests, return_inverse=True)
    lowest, highest = np.full(len(images), len(rows)), np.zeros(len(images), dtype=np.int64)
    np.minimum.at(lowest, inverse, fold)
    np.maximum.at(highest, inverse, fold)
    again = 0 if test is None else int(np.isin(_digests(test.images), images).sum())
    return int((lowest < highest)[inverse].sum()), again


def _label_words(labels: Images) -> Words:
    """Return a number for each label, or for each mask or row of labels or targets."""
    if labels.ndim > 1:
        return _digests(labels)
    return np.concatenate([chunk.numpy() for chunk in chunks(labels)]).astype(np.uint64)


def _digests(images: Images) -> Words:
    """Hash each image to 64 bits: a collision in a million images has a probability of 3e-8."""
    hashes = (
        hashlib.blake2b(image.data, digest_size=8).digest()
        for chunk in chunks(images)
        for image in chunk.numpy()
    )
    return np.frombuffer(b"".join(hashes), dtype=np.uint64)
