"""Data sets of several labels, or of numbers, for each image: brightness decides both."""

import numpy as np

from skipsearch.data import Data


def matrices(n: int = 120, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 6, 6) and labels (n, labels): whether each row of pixels is bright."""
    rng = np.random.default_rng(0)
    matrix = (rng.random((n, labels)) < 0.4).astype(np.int64)
    images = rng.integers(0, 100, (n, 6, 6))
    images[:, :labels] += 120 * matrix[:, :, None]
    return images.astype("uint8"), matrix


def numbers(n: int = 120, targets: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 6, 6) and targets (n, targets): the mean of each row, far from 0."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(20, 235, (n, 6))
    images = (rows[:, :, None] + rng.uniform(-20, 20, (n, 6, 6))).astype("uint8")
    return images, 1000 * np.arange(1, targets + 1) + images[:, :targets].mean(2)


def multi_label(**changes: object) -> Data:
    return Data.from_arrays(*matrices(), **{"class_names": ["a", "b", "c"]} | changes)


def regression(**changes: object) -> Data:
    return Data.from_arrays(*numbers(), **{"target_names": ["first", "second"]} | changes)
